// From a version of a model up to its data and down to where it serves, as one graph. Arrows point the way data flows.
#include "api/rest/lineage.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

namespace tidemill::rest {
namespace {

using access::Right;

struct Node {
  std::string id;    // as subjects of events are spelled, such as "models/flight-delay/3"
  std::string kind;  // dataset, features, pipeline, pipeline_run, run, logged_model, version, tests, deployment
  json::Object detail;
};
BOOST_DESCRIBE_STRUCT(Node, (), (id, kind, detail))

struct Edge {
  std::string from;
  std::string to;
  std::string what;  // read_by, made, tested_by, served_by
};
BOOST_DESCRIBE_STRUCT(Edge, (), (from, to, what))

struct Graph {
  std::string version;  // id of the node that was asked for
  std::vector<Node> nodes;
  std::vector<Edge> edges;
};
BOOST_DESCRIBE_STRUCT(Graph, (), (version, nodes, edges))

// Collects nodes, each once.
class Builder {
 public:
  explicit Builder(std::string version) { graph_.version = std::move(version); }

  const std::string& add(std::string id, std::string kind, json::Object detail = {}) {
    if (seen_.insert(id).second) graph_.nodes.push_back({id, std::move(kind), std::move(detail)});
    return *seen_.find(id);
  }
  void link(const std::string& from, const std::string& to, std::string what) {
    graph_.edges.push_back({from, to, std::move(what)});
  }
  [[nodiscard]] const std::string& version() const { return graph_.version; }
  [[nodiscard]] Graph take() { return std::move(graph_); }

 private:
  Graph graph_;
  std::set<std::string> seen_;
};

// The pipeline run that made the version, with the code, data and features that it used.
void add_pipeline(const LineageRooms& rooms, const models::VersionDetail& version, Builder& graph) {
  const models::Lineage& lineage = version.lineage;
  if (lineage.pipeline_run.empty()) return;
  json::Object detail{{"step", lineage.step}};
  std::string pipeline = "pipelines/" + lineage.pipeline;
  if (const auto id = pipelines::PipelineRunId::parse(lineage.pipeline_run)) {
    if (const auto run = rooms.pipelines.run(*id)) {
      pipeline += fmt::format("/{}", run->version);
      detail["state"] = enum_name(run->state);
      detail["cause"] = run->cause;
      detail["made_by"] = run->made_by;
      detail["params"] = json::to_json(run->params);
    }
  }
  const std::string run = graph.add("pipeline_runs/" + lineage.pipeline_run, "pipeline_run", std::move(detail));
  graph.link(graph.add(pipeline, "pipeline"), run, "made");
  const std::string reader = lineage.feature_view.empty() ? run : "features/" + lineage.feature_view;
  if (!lineage.feature_view.empty()) {
    json::Object window;
    if (lineage.window) window = {{"from_ms", lineage.window->from_ms}, {"to_ms", lineage.window->to_ms}};
    graph.link(graph.add(reader, "features", std::move(window)), run, "read_by");
  }
  for (const auto& dataset : lineage.datasets) {
    const std::string id = fmt::format("datasets/{}/{}", dataset.dataset, dataset.number);
    graph.link(graph.add(id, "dataset"), reader, "read_by");
  }
  graph.link(run, graph.version(), "made");
}

// The logged run behind a version, with the data sets and models that it read and wrote.
Result<void> add_run(const LineageRooms& rooms, const models::VersionDetail& version, Builder& graph) {
  const auto id = runs::RunId::parse(version.run_id);
  if (!id) return {};
  const auto run = rooms.runs.database().read([&](sql::Tx& tx) { return rooms.runs.run(tx, *id); });
  if (!run && run.error().code == Code::kNotFound) return {};
  if (!run) return std::unexpected(run.error());
  json::Object detail{{"name", run->info.name},
                      {"experiment", run->info.experiment.str()},
                      {"status", enum_name(run->info.status)},
                      {"person", run->info.person}};
  for (const auto& tag : run->tags) {
    if (tag.key == "mlflow.source.name") detail["source"] = tag.value;
    if (tag.key == "mlflow.source.git.commit") detail["commit"] = tag.value;
  }
  const std::string node = graph.add("runs/" + id->str(), "run", std::move(detail));
  graph.link(node, graph.version(), "made");
  for (const auto& input : run->inputs) {
    const std::string data = fmt::format("run_datasets/{}/{}", input.dataset.name, input.dataset.digest);
    graph.link(graph.add(data, "dataset", {{"source", input.dataset.source}}), node, "read_by");
  }
  for (const auto& model : run->input_models) {
    graph.link(graph.add("logged_models/" + model.model, "logged_model"), node, "read_by");
  }
  for (const auto& model : run->output_models) {
    graph.link(node, graph.add("logged_models/" + model.model, "logged_model"), "made");
  }
  return {};
}

void add_tests(const models::VersionDetail& version, Builder& graph) {
  for (const auto& report : version.tests) {
    const std::string id = fmt::format("gate_reports/{}/{}/{}", version.model, version.number, report.made_ms);
    graph.link(graph.version(),
               graph.add(id, "tests",
                         {{"passed", report.passed},
                          {"requirement", report.requirement},
                          {"requirement_revision", report.requirement_revision},
                          {"data_sha256", report.data},
                          {"made_ms", report.made_ms}}),
               "tested_by");
  }
}

// Every deployment in whose history the version stands, with what happened there.
Result<void> add_deployments(const LineageRooms& rooms, const models::VersionDetail& version, Builder& graph) {
  for (const auto& deployment : TM_TRY(rooms.deployments.list())) {
    if (deployment.model != version.model) continue;
    json::Array steps;
    for (const auto& entry : TM_TRY(rooms.deployments.history(deployment.name))) {
      if (entry.version == version.number || entry.champion == version.number) steps.push_back(json::to_json(entry));
    }
    if (steps.empty()) continue;
    const bool champion = deployment.champion == version.number && deployment.state == deployments::State::serving;
    const std::string id = graph.add("deployments/" + deployment.name, "deployment",
                                     {{"serves_now", champion}, {"history", std::move(steps)}});
    graph.link(graph.version(), id, "served_by");
  }
  return {};
}

Result<Graph> graph_of(const LineageRooms& rooms, std::string_view model, std::int64_t number) {
  const auto version = TM_TRY(rooms.models.detail(model, number));
  Builder graph(fmt::format("models/{}/{}", model, number));
  graph.add(graph.version(), "version",
            {{"digest", version.digest},
             {"state", enum_name(version.state)},
             {"source", version.source},
             {"made_by", version.made_by},
             {"made_ms", version.made_ms},
             {"decided_by", version.decided_by}});
  add_pipeline(rooms, version, graph);
  TM_CHECK(add_run(rooms, version, graph));
  add_tests(version, graph);
  TM_CHECK(add_deployments(rooms, version, graph));
  return graph.take();
}

}  // namespace

std::vector<http::Route> lineage_routes(const LineageRooms& rooms) {
  std::vector<http::Route> routes;
  routes.push_back(http::get<Graph>("/api/models/{model}/versions/{number}/graph", Right::read,
                                    "Show a version's lineage up to its data and down to where it serves",
                                    [rooms](const http::Request& request) -> Result<Graph> {
                                      const auto number = TM_TRY(request.number_param("number"));
                                      return graph_of(rooms, request.param("model"), number);
                                    }));
  return routes;
}

}  // namespace tidemill::rest
