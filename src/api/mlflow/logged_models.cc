#include <fmt/format.h>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kSearchedByDefault = 50;
constexpr std::string_view kStatusPrefix = "LOGGED_MODEL_";

Result<runs::LoggedModelId> model_of(const Call& call) {
  return runs::LoggedModelId::parse(call.request.param("model_id"));
}

Result<runs::LoggedModelStatus> status_of(const std::string& text) {
  if (text == "LOGGED_MODEL_PENDING" || text == "1") return runs::LoggedModelStatus::pending;
  if (text == "LOGGED_MODEL_READY" || text == "2") return runs::LoggedModelStatus::ready;
  if (text == "LOGGED_MODEL_UPLOAD_FAILED" || text == "3") return runs::LoggedModelStatus::upload_failed;
  return invalid_value(
      "status", json::Value(text),
      fmt::format("{}PENDING, {}READY or {}UPLOAD_FAILED", kStatusPrefix, kStatusPrefix, kStatusPrefix));
}

Result<std::string> create(runs::Runs& runs, const Call& call) {
  runs::NewLoggedModel model;
  model.experiment = TM_TRY(runs::ExperimentId::parse(TM_TRY(call.fields.required("experiment_id"))));
  model.name = TM_TRY(call.fields.text("name"));
  model.type = TM_TRY(call.fields.text("model_type"));
  model.source_run = TM_TRY(call.fields.text("source_run_id"));
  model.params = TM_TRY(pairs(call.fields, "params"));
  model.tags = TM_TRY(pairs(call.fields, "tags"));
  return wrapped("model",
                 TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.add_model(tx, call.actor, model); })));
}

Result<std::string> search(runs::Runs& runs, const Call& call) {
  runs::Search search;
  for (const std::string& text : TM_TRY(call.fields.texts("experiment_ids"))) {
    search.experiments.push_back(TM_TRY(runs::ExperimentId::parse(text)));
  }
  search.filter = TM_TRY(call.fields.text("filter"));
  for (const Fields& order : TM_TRY(call.fields.objects("order_by"))) {
    const bool ascending = TM_TRY(order.maybe_boolean("ascending")).value_or(true);
    search.order_by.push_back(TM_TRY(order.required("field_name")) + (ascending ? " ASC" : " DESC"));
  }
  search.limit = TM_TRY(max_results(call.fields, kSearchedByDefault, runs.limits().search_results_max));
  search.offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  std::vector<std::pair<std::string, std::string>> datasets;
  for (const Fields& dataset : TM_TRY(call.fields.objects("datasets"))) {
    datasets.emplace_back(TM_TRY(dataset.required("dataset_name")), TM_TRY(dataset.text("dataset_digest")));
  }
  return wrapped("models",
                 TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.search_models(tx, search, datasets); })));
}

Result<std::string> list_files(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(model_of(call));
  const std::string folder = TM_TRY(call.fields.text("artifact_directory_path"));
  JsonText json;
  json.begin_object();
  TM_CHECK(runs.database().read([&](sql::Tx& tx) -> Result<void> {
    const auto model = TM_TRY(runs.model(tx, id));
    json.text("root_uri", artifact_uri(model)).key("files").begin_array();
    const auto root = own_path(artifact_uri(model));
    if (!root) return {};
    for (const runs::Entry& entry : TM_TRY(runs.entries(tx, folder.empty() ? *root : *root + "/" + folder))) {
      json.begin_object()
          .text("path", folder.empty() ? entry.name : folder + "/" + entry.name)
          .boolean("is_dir", entry.is_folder);
      if (!entry.is_folder) json.integer("file_size", static_cast<std::int64_t>(entry.bytes));
      json.end_object();
    }
    return {};
  }));
  json.end_array().end_object();
  return json.take();
}

}  // namespace

void add_logged_models(Endpoints& endpoints, runs::Runs& runs) {
  const std::string_view one = "/mlflow/logged-models/{model_id}";
  endpoints.add(Method::post, "/mlflow/logged-models", Right::write, "Begin to log a model",
                [&runs](const Call& call) { return create(runs, call); });
  endpoints.add(Method::post, "/mlflow/logged-models/search", Right::read, "Search logged models",
                [&runs](const Call& call) { return search(runs, call); });
  endpoints.add(Method::get, one, Right::read, "Get a logged model", [&runs](const Call& call) -> Result<std::string> {
    const auto id = TM_TRY(model_of(call));
    return wrapped("model", TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.model(tx, id); })));
  });
  endpoints.add(
      Method::patch, one, Right::write, "Finish logging a model", [&runs](const Call& call) -> Result<std::string> {
        const auto id = TM_TRY(model_of(call));
        const auto status = TM_TRY(status_of(TM_TRY(call.fields.required("status"))));
        return wrapped(
            "model",
            TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.finish_model(tx, call.actor, id, status); })));
      });
  endpoints.add(Method::del, one, Right::write, "Delete a logged model",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(model_of(call));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.delete_model(tx, call.actor, id); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::patch, "/mlflow/logged-models/{model_id}/tags", Right::write, "Set tags of a logged model",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(model_of(call));
                  const auto tags = TM_TRY(pairs(call.fields, "tags"));
                  return wrapped(
                      "model",
                      TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.tag_model(tx, id, tags); })));
                });
  endpoints.add(Method::del, "/mlflow/logged-models/{model_id}/tags/{tag_key}", Right::write,
                "Delete a tag of a logged model", [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(model_of(call));
                  const std::string& key = call.request.param("tag_key");
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.untag_model(tx, id, key); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::post, "/mlflow/logged-models/{model_id}/params", Right::write,
                "Log parameters of a logged model", [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(model_of(call));
                  const auto params = TM_TRY(pairs(call.fields, "params"));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.add_model_params(tx, id, params); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::get, "/mlflow/logged-models/{model_id}/artifacts/directories", Right::read,
                "List files of a logged model", [&runs](const Call& call) { return list_files(runs, call); });
}

}  // namespace tidemill::mlflow
