#include "api/mlflow/mlflow.h"

#include <fmt/format.h>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

// What is asked of a path that no endpoint stands at, in MLflow's words.
http::Response unknown_endpoint(const http::Request& request) {
  JsonText json;
  json.begin_object().text("error_code", "ENDPOINT_NOT_FOUND");
  json.text("message", fmt::format("There is no API '{}' here. docs/reference/mlflow.md lists what there is.",
                                   request.path.substr(0, 256)));
  json.end_object();
  return http::Response::text(404, json.take(), "application/json");
}

// Operations that we know and leave out.
void add_left_out(Endpoints& endpoints) {
  for (const std::string_view path :
       {"/mlflow-artifacts/mpu/create/{path...}", "/mlflow-artifacts/mpu/complete/{path...}",
        "/mlflow-artifacts/mpu/abort/{path...}"}) {
    endpoints.add(Method::post, path, Right::write, "Multipart upload: not offered, clients send the file whole",
                  [](const Call&) -> Result<std::string> {
                    return fail(Code::kUnimplemented, "mlflow.no_multipart", "Multipart upload is not supported here.",
                                "Send the file whole.");
                  });
  }
}

}  // namespace

std::vector<http::Route> mlflow_routes(runs::Runs& runs, models::Models& models,
                                       const std::filesystem::path& scratch_folder) {
  Endpoints endpoints;
  add_experiments(endpoints, runs);
  add_runs(endpoints, runs);
  add_logging(endpoints, runs);
  add_metrics(endpoints, runs);
  add_logged_models(endpoints, runs);
  add_artifacts(endpoints, runs, scratch_folder);
  add_registered_models(endpoints, models);
  add_model_versions(endpoints, runs, models);
  add_left_out(endpoints);
  std::vector<http::Route> routes = endpoints.take();
  for (const char* place : {"/api/2.0/mlflow/{rest...}", "/ajax-api/2.0/mlflow/{rest...}", "/api/3.0/mlflow/{rest...}",
                            "/ajax-api/3.0/mlflow/{rest...}"}) {
    for (const Method method : {Method::get, Method::post, Method::put, Method::patch, Method::del}) {
      const http::Body body = method == Method::get ? http::Body::none : http::Body::bytes;
      routes.push_back(
          http::raw(method, place, Right::open, "What is not offered", body,
                    [](const http::Request& request, const http::Done& done) { done(unknown_endpoint(request)); }));
      routes.back().error_form = error_response;
    }
  }
  return routes;
}

}  // namespace tidemill::mlflow
