// How experiments, runs and logged models are spelled.
#include <algorithm>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

std::string upper(std::string_view word) {
  std::string out(word);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return out;
}

void write_inputs(JsonText& json, const runs::Run& run) {
  json.key("inputs").begin_object();
  json.key("dataset_inputs").begin_array();
  for (const runs::DatasetInput& input : run.inputs) {
    const runs::Dataset& dataset = input.dataset;
    json.begin_object();
    write_pairs(json, "tags", input.tags);
    json.key("dataset").begin_object();
    json.text("name", dataset.name)
        .text("digest", dataset.digest)
        .text("source_type", dataset.source_type)
        .text("source", dataset.source);
    if (dataset.schema) json.text("schema", *dataset.schema);
    if (dataset.profile) json.text("profile", *dataset.profile);
    json.end_object().end_object();
  }
  json.end_array().key("model_inputs").begin_array();
  for (const runs::ModelUse& model : run.input_models) json.begin_object().text("model_id", model.model).end_object();
  json.end_array().end_object();
}

}  // namespace

void write_pairs(JsonText& json, std::string_view name, const std::vector<runs::KeyValue>& pairs) {
  json.key(name).begin_array();
  for (const auto& [key, value] : pairs) json.begin_object().text("key", key).text("value", value).end_object();
  json.end_array();
}

void write(JsonText& json, const runs::Experiment& experiment) {
  json.begin_object();
  json.text("experiment_id", experiment.id.str())
      .text("name", experiment.name)
      .text("artifact_location", artifact_uri(experiment));
  json.text("lifecycle_stage", enum_name(experiment.lifecycle));
  json.integer("last_update_time", experiment.updated_ms).integer("creation_time", experiment.made_ms);
  json.key("tags").begin_array();
  for (const auto& [key, value] : experiment.tags)
    json.begin_object().text("key", key).text("value", value).end_object();
  json.end_array().end_object();
}

void write(JsonText& json, const runs::RunInfo& run) {
  json.begin_object();
  json.text("run_id", run.id.str()).text("run_uuid", run.id.str()).text("run_name", run.name);
  json.text("experiment_id", run.experiment.str())
      .text("user_id", run.person)
      .text("status", upper(enum_name(run.status)));
  json.integer_if("start_time", run.start_ms).integer_if("end_time", run.end_ms);
  json.text("artifact_uri", artifact_uri(run)).text("lifecycle_stage", enum_name(run.lifecycle)).end_object();
}

void write(JsonText& json, std::string_view key, const runs::Point& point) {
  json.text("key", key).key("value").number(point.value).integer("timestamp", point.at_ms).integer("step", point.step);
}

void write(JsonText& json, const runs::Run& run) {
  json.begin_object().key("info");
  write(json, run.info);
  json.key("data").begin_object().key("metrics").begin_array();
  for (const runs::LatestMetric& metric : run.metrics) {
    json.begin_object();
    write(json, metric.key, metric);
    json.end_object();
  }
  json.end_array();
  write_pairs(json, "params", run.params);
  write_pairs(json, "tags", run.tags);
  json.end_object();
  write_inputs(json, run);
  json.key("outputs").begin_object().key("model_outputs").begin_array();
  for (const runs::ModelUse& model : run.output_models) {
    json.begin_object().text("model_id", model.model).integer("step", model.step).end_object();
  }
  json.end_array().end_object().end_object();
}

void write(JsonText& json, const runs::LoggedModel& model) {
  json.begin_object().key("info").begin_object();
  json.text("model_id", model.id.str()).text("experiment_id", model.experiment.str()).text("name", model.name);
  json.integer("creation_timestamp_ms", model.made_ms).integer("last_updated_timestamp_ms", model.updated_ms);
  json.text("artifact_uri", artifact_uri(model));
  const bool specified = model.status != runs::LoggedModelStatus::unspecified;
  json.text("status", specified ? "LOGGED_MODEL_" + upper(enum_name(model.status)) : "LOGGED_MODEL_STATUS_UNSPECIFIED");
  json.text_if("model_type", model.type).text_if("source_run_id", model.source_run);
  write_pairs(json, "tags", model.tags);
  json.end_object().key("data").begin_object();
  write_pairs(json, "params", model.params);
  json.key("metrics").begin_array();
  for (const runs::LoggedModelMetric& metric : model.metrics) {
    json.begin_object();
    write(json, metric.key, metric);
    json.text("model_id", model.id.str()).text_if("run_id", metric.run);
    json.text_if("dataset_name", metric.dataset_name).text_if("dataset_digest", metric.dataset_digest).end_object();
  }
  json.end_array().end_object().end_object();
}

}  // namespace tidemill::mlflow
