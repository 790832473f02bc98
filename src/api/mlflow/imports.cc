// What `tidemill import mlflow` needs beyond MLflow's own operations: things keep the ids and times that they had where
// they come from. Only administrators may, since such times are claims that nobody here saw.
#include <fmt/format.h>

#include "api/mlflow/parts.h"
#include "api/mlflow/registry.h"

namespace tidemill::mlflow {
namespace {

Result<std::string> take_over_experiment(runs::Runs& runs, const Call& call) {
  runs::NewExperiment experiment;
  experiment.name = TM_TRY(call.fields.required("name"));
  experiment.made_ms = TM_TRY(call.fields.maybe_integer("creation_time"));
  experiment.tags = TM_TRY(pairs(call.fields, "tags"));
  if (const std::string id = TM_TRY(call.fields.text("experiment_id")); !id.empty()) {
    experiment.id = TM_TRY(runs::ExperimentId::parse(id));
  }
  return wrapped(
      "experiment",
      TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.add_experiment(tx, call.actor, experiment); })));
}

Result<std::string> take_over_run(runs::Runs& runs, const Call& call) {
  runs::NewRun run;
  run.id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
  run.experiment = TM_TRY(runs::ExperimentId::parse(TM_TRY(call.fields.required("experiment_id"))));
  run.name = TM_TRY(call.fields.text("run_name"));
  run.person = TM_TRY(call.fields.text("user_id"));
  run.start_ms = TM_TRY(call.fields.maybe_integer("start_time"));
  return wrapped("run", TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.start(tx, run); })));
}

Result<std::string> take_over_logged_model(runs::Runs& runs, const Call& call) {
  runs::NewLoggedModel model;
  model.id = TM_TRY(runs::LoggedModelId::parse(TM_TRY(call.fields.required("model_id"))));
  model.experiment = TM_TRY(runs::ExperimentId::parse(TM_TRY(call.fields.required("experiment_id"))));
  model.name = TM_TRY(call.fields.required("name"));
  model.type = TM_TRY(call.fields.text("model_type"));
  model.source_run = TM_TRY(call.fields.text("source_run_id"));
  model.made_ms = TM_TRY(call.fields.maybe_integer("creation_timestamp_ms"));
  model.params = TM_TRY(pairs(call.fields, "params"));
  model.tags = TM_TRY(pairs(call.fields, "tags"));
  return wrapped("model",
                 TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.add_model(tx, call.actor, model); })));
}

Result<std::string> take_over_registered_model(models::Models& models, const Call& call) {
  const std::string name = TM_TRY(call.fields.required("name"));
  const std::string description = TM_TRY(call.fields.text("description"));
  const auto tags = TM_TRY(tags_of(call.fields));
  const auto made_ms = TM_TRY(call.fields.maybe_integer("creation_timestamp"));
  TM_CHECK(models.parts().database.write(
      [&](sql::Tx& tx) { return models.add_model(tx, call.actor, name, description, tags, made_ms); }));
  return std::string(kNothing);
}

// The files beneath a folder of our store with their SHA-256, so that both sides can be compared without sending them.
Result<std::string> list_digests(runs::Runs& runs, const Call& call) {
  const std::string folder = TM_TRY(call.fields.required("path"));
  const auto files = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.artefacts(tx, folder); }));
  JsonText json;
  json.begin_object().key("files").begin_array();
  for (const runs::Artefact& file : files) {
    json.begin_object()
        .text("path", std::string_view(file.path).substr(folder.size() + 1))
        .text("sha256", file.blob)
        .integer("file_size", static_cast<std::int64_t>(file.bytes))
        .end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace

void add_imports(Endpoints& endpoints, runs::Runs& runs, models::Models& models) {
  endpoints.add(Method::post, "/mlflow/imports/experiments", Right::admin, "Take over an experiment with its id",
                [&runs](const Call& call) { return take_over_experiment(runs, call); });
  endpoints.add(Method::post, "/mlflow/imports/runs", Right::admin, "Take over a run with its id",
                [&runs](const Call& call) { return take_over_run(runs, call); });
  endpoints.add(Method::post, "/mlflow/imports/logged-models", Right::admin, "Take over a logged model with its id",
                [&runs](const Call& call) { return take_over_logged_model(runs, call); });
  endpoints.add(Method::post, "/mlflow/imports/registered-models", Right::admin,
                "Take over a registered model with its time",
                [&models](const Call& call) { return take_over_registered_model(models, call); });
  endpoints.add(Method::get, "/mlflow/imports/digests", Right::read, "List the files of a folder with their SHA-256",
                [&runs](const Call& call) { return list_digests(runs, call); });
}

}  // namespace tidemill::mlflow
