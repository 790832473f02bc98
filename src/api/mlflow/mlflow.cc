#include "api/mlflow/mlflow.h"

#include <fmt/format.h>

#include <array>
#include <boost/algorithm/string/case_conv.hpp>
#include <optional>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

constexpr std::string_view kVersion = "3.17.2";

// What is asked of a path that no endpoint stands at, in MLflow's words.
http::Response unknown_endpoint(const http::Request& request) {
  JsonText json;
  json.begin_object().text("error_code", "ENDPOINT_NOT_FOUND");
  json.text("message", fmt::format("There is no API '{}' here. docs/reference/mlflow.md lists what there is.",
                                   request.path.substr(0, 256)));
  json.end_object();
  return http::Response::text(404, json.take(), "application/json");
}

// What MLflow's server has and this one leaves out: what its paths begin with behind the version of the API.
struct LeftOut {
  std::string_view path;
  std::string_view name;
};
constexpr std::array kLeftOut{
    LeftOut{"mlflow/gateway/", "the AI gateway"},
    LeftOut{"mlflow/gateway-proxy", "the AI gateway"},
    LeftOut{"mlflow/scorers/", "scorers"},
    LeftOut{"mlflow/review-queues/", "review queues"},
    LeftOut{"mlflow/label-schemas/", "label schemas"},
    LeftOut{"mlflow/issues", "issues"},
    LeftOut{"mlflow/datasets", "evaluation data sets"},
    LeftOut{"mlflow/workspaces", "workspaces"},
    LeftOut{"mlflow/prompt-optimization/", "optimization of prompts"},
    LeftOut{"mlflow/mcp-servers", "the registry of MCP servers"},
    LeftOut{"mlflow/jobs", "jobs of MLflow's server"},
    LeftOut{"mlflow/assistant/", "the assistant"},
    LeftOut{"mlflow/runs/create-promptlab-run", "runs of the prompt lab"},
    LeftOut{"mlflow/artifacts/presigned-", "signed addresses of artefacts"},
    LeftOut{"mlflow/unified-traces", "a service of Databricks"},
    LeftOut{"mlflow/get-online-trace-details", "a service of Databricks"},
    LeftOut{"mlflow/databricks/", "a service of Databricks"},
};

// Probes of what a server can do (server-info, server-features) are not in the list: clients take their 404 for "no".
std::optional<LeftOut> left_out_at(std::string_view path) {
  for (const std::string_view place : {"/api/2.0/", "/ajax-api/2.0/", "/api/3.0/", "/ajax-api/3.0/"}) {
    if (!path.starts_with(place)) continue;
    const std::string_view rest = path.substr(place.size());
    for (const LeftOut& one : kLeftOut) {
      if (rest.starts_with(one.path)) return one;
    }
  }
  return std::nullopt;
}

http::Response not_implemented(const http::Request& request, std::string_view name) {
  return error_response(
      Error{Code::kUnimplemented,
            "mlflow.left_out",
            fmt::format(
                "{} {} is not implemented: Tidemill leaves out {}.",
                request.method == Method::del ? "DELETE" : boost::to_upper_copy(std::string(enum_name(request.method))),
                request.path.substr(0, 256), name),
            "docs/reference/mlflow.md lists what there is.",
            {}});
}

http::Response rest_of(const http::Request& request) {
  const auto left_out = left_out_at(request.path);
  return left_out ? not_implemented(request, left_out->name) : unknown_endpoint(request);
}

// Adds a path outside of /mlflow that answers the same.
void add_left_out(std::vector<http::Route>& routes, Method method, const char* path, std::string_view name) {
  const http::Body body = method == Method::get ? http::Body::none : http::Body::bytes;
  routes.push_back(http::raw(
      method, path, Right::open, "What is left out", body,
      [name](const http::Request& request, const http::Done& done) { done(not_implemented(request, name)); }));
  routes.back().error_form = error_response;
}

}  // namespace

std::optional<std::string> version_for(const http::Request& request) {
  const bool told = request.headers.get("X-MLflow-Client-Version").has_value();
  if (!told && !request.headers.get("User-Agent").value_or("").starts_with("mlflow-")) return std::nullopt;
  return std::string(kVersion);
}

std::vector<http::Route> mlflow_routes(runs::Runs& runs, traces::Traces& traces, models::Models& models,
                                       const Clock& clock, const std::filesystem::path& scratch_folder) {
  Endpoints endpoints;
  Endpoints v3(Endpoints::Version::v3);
  add_experiments(endpoints, runs);
  add_runs(endpoints, runs);
  add_logging(endpoints, runs);
  add_metrics(endpoints, runs);
  add_logged_models(endpoints, runs);
  add_artifacts(endpoints, runs, scratch_folder);
  add_multipart(endpoints, runs, scratch_folder);
  add_registered_models(endpoints, models);
  add_model_versions(endpoints, runs, models);
  add_traces(endpoints, v3, traces, runs, clock, scratch_folder);
  add_imports(endpoints, runs, models);
  std::vector<http::Route> routes = endpoints.take();
  for (http::Route& route : v3.take()) routes.push_back(std::move(route));
  routes.push_back(otlp_route(traces));
  for (const char* place : {"/api/2.0/mlflow/{rest...}", "/ajax-api/2.0/mlflow/{rest...}", "/api/3.0/mlflow/{rest...}",
                            "/ajax-api/3.0/mlflow/{rest...}"}) {
    for (const Method method : {Method::get, Method::post, Method::put, Method::patch, Method::del}) {
      const http::Body body = method == Method::get ? http::Body::none : http::Body::bytes;
      routes.push_back(http::raw(method, place, Right::open, "What is not offered", body,
                                 [](const http::Request& request, const http::Done& done) { done(rest_of(request)); }));
      routes.back().error_form = error_response;
    }
  }
  for (const Method method : {Method::get, Method::post}) {
    add_left_out(routes, method, "/graphql", "GraphQL, which only MLflow's own console asks");
  }
  for (const char* path :
       {"/api/2.0/mlflow-artifacts/presigned/{path...}", "/ajax-api/2.0/mlflow-artifacts/presigned/{path...}"}) {
    add_left_out(routes, Method::get, path, "signed addresses of artefacts");
  }
  return routes;
}

}  // namespace tidemill::mlflow
