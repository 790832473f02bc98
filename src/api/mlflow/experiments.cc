#include <fmt/format.h>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kLocationBytesMax = 2'048;
constexpr std::int64_t kSearchedByDefault = 1'000;

// Artefact locations are only handed on to clients, never opened here; what they may not do is confuse a client.
Result<void> check_location(const std::string& location) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "mlflow.bad_location",
                fmt::format("Invalid artifact_location '{}': {}.", location.substr(0, 256), why),
                "Leave it out to keep artefacts in this server.");
  };
  if (static_cast<std::int64_t>(location.size()) > kLocationBytesMax) return refuse("it is too long");
  for (const char c : location) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '#' || c == '?')
      return refuse("it has a fragment, a query or a control character");
  }
  if (const auto own = own_path(location); own && own->find("..") != std::string::npos)
    return refuse("it leads elsewhere");
  return {};
}

Result<std::string> create(runs::Runs& runs, const Call& call) {
  runs::NewExperiment experiment{TM_TRY(call.fields.required("name")), TM_TRY(call.fields.text("artifact_location")),
                                 TM_TRY(pairs(call.fields, "tags"))};
  TM_CHECK(check_location(experiment.artefact_root));
  const auto added =
      TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.add_experiment(tx, call.actor, experiment); }));
  JsonText json;
  json.begin_object().text("experiment_id", added.id.str()).end_object();
  return json.take();
}

Result<std::string> search(runs::Runs& runs, const Call& call) {
  runs::Search search;
  search.filter = TM_TRY(call.fields.text("filter"));
  search.order_by = TM_TRY(call.fields.texts("order_by"));
  search.view = TM_TRY(view_type(call.fields, "view_type"));
  search.limit = TM_TRY(max_results(call.fields, kSearchedByDefault, runs.limits().search_results_max));
  search.offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  return wrapped("experiments",
                 TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.search_experiments(tx, search); })));
}

// Adds an endpoint that changes the experiment of its field experiment_id.
template <class F>
void add_change(Endpoints& endpoints, runs::Runs& runs, std::string_view path, std::string_view summary, F change) {
  endpoints.add(Method::post, path, Right::write, summary, [&runs, change](const Call& call) -> Result<std::string> {
    const auto id = TM_TRY(runs::ExperimentId::parse(TM_TRY(call.fields.required("experiment_id"))));
    TM_CHECK(runs.database().write([&](sql::Tx& tx) -> Result<void> { return change(runs, tx, call, id); }));
    return std::string(kNothing);
  });
}

}  // namespace

void add_experiments(Endpoints& endpoints, runs::Runs& runs) {
  endpoints.add(Method::post, "/mlflow/experiments/create", Right::write, "Make an experiment",
                [&runs](const Call& call) { return create(runs, call); });
  for (const Method method : {Method::get, Method::post}) {
    endpoints.add(method, "/mlflow/experiments/search", Right::read, "Search experiments",
                  [&runs](const Call& call) { return search(runs, call); });
  }
  endpoints.add(Method::get, "/mlflow/experiments/get", Right::read, "Get an experiment",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(runs::ExperimentId::parse(TM_TRY(call.fields.required("experiment_id"))));
                  return wrapped("experiment",
                                 TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.experiment(tx, id); })));
                });
  endpoints.add(Method::get, "/mlflow/experiments/get-by-name", Right::read, "Get an experiment by its name",
                [&runs](const Call& call) -> Result<std::string> {
                  const std::string name = TM_TRY(call.fields.required("experiment_name"));
                  return wrapped("experiment",
                                 TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.experiment(tx, name); })));
                });
  add_change(endpoints, runs, "/mlflow/experiments/delete", "Mark an experiment as deleted",
             [](runs::Runs& r, sql::Tx& tx, const Call& call, runs::ExperimentId id) {
               return r.delete_experiment(tx, call.actor, id);
             });
  add_change(endpoints, runs, "/mlflow/experiments/restore", "Take the mark off again",
             [](runs::Runs& r, sql::Tx& tx, const Call& call, runs::ExperimentId id) {
               return r.restore_experiment(tx, call.actor, id);
             });
  add_change(endpoints, runs, "/mlflow/experiments/update", "Rename an experiment",
             [](runs::Runs& r, sql::Tx& tx, const Call& call, runs::ExperimentId id) -> Result<void> {
               const std::string name = TM_TRY(call.fields.required("new_name"));
               return r.rename_experiment(tx, call.actor, id, name);
             });
  add_change(endpoints, runs, "/mlflow/experiments/set-experiment-tag", "Set a tag of an experiment",
             [](runs::Runs& r, sql::Tx& tx, const Call& call, runs::ExperimentId id) -> Result<void> {
               const std::string key = TM_TRY(call.fields.required("key"));
               return r.tag_experiment(tx, id, key, TM_TRY(call.fields.text("value")));
             });
  add_change(endpoints, runs, "/mlflow/experiments/delete-experiment-tag", "Delete a tag of an experiment",
             [](runs::Runs& r, sql::Tx& tx, const Call& call, runs::ExperimentId id) -> Result<void> {
               const std::string key = TM_TRY(call.fields.required("key"));
               return r.tag_experiment(tx, id, key, std::nullopt);
             });
}

}  // namespace tidemill::mlflow
