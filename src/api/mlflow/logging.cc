// What running code sends: metrics, parameters, tags, data sets. None of these holds a thread while the disk is waited
// for.
#include <fmt/format.h>

#include <algorithm>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

constexpr std::string_view kModelHistoryTag = "mlflow.log-model.history";

using Done = std::function<void(Result<std::string>)>;

// Logs the batch; a tag that is a run's name renames it too.
void log(runs::Runs& runs, const Call& call, runs::RunId id, runs::Batch batch, Done done) {
  const auto answer = [done = std::move(done)](Result<void> result) {
    done(result ? Result<std::string>(std::string(kNothing)) : std::unexpected(std::move(result).error()));
  };
  const auto name = std::ranges::find(batch.tags, kRunNameTag, &runs::KeyValue::key);
  if (name == batch.tags.end()) return runs.log_async(std::move(id), std::move(batch), answer);
  runs.database().write_async(
      [&runs, actor = call.actor, id = std::move(id), name = name->value,
       batch = std::move(batch)](sql::Tx& tx) -> Result<void> {
        TM_CHECK(runs.log(tx, id, batch));
        TM_CHECK(runs.change(tx, actor, id, {{}, {}, name}));
        return {};
      },
      answer);
}

// Names in errors a field of the item at `index` as MLflow does: metrics[3].timestamp.
template <class T>
Result<T> of_item(Result<T> result, std::string_view list, std::size_t index) {
  if (result || !result.error().details.contains("field")) return result;
  Error error = result.error();
  std::string& field = error.details["field"];
  const std::string whole = fmt::format("{}[{}].{}", list, index, field);
  const std::string quoted = fmt::format("'{}'", field);
  if (const std::size_t at = error.message.rfind(quoted); at != std::string::npos)
    error.message.replace(at, quoted.size(), fmt::format("'{}'", whole));
  field = whole;
  return std::unexpected(std::move(error));
}

Result<runs::Metric> read_metric(const Fields& fields) {
  runs::Metric metric;
  metric.key = TM_TRY(fields.required("key"));
  metric.value = TM_TRY(fields.required_number("value"));
  metric.at_ms = TM_TRY(fields.required_integer("timestamp"));
  metric.step = TM_TRY(fields.maybe_integer("step")).value_or(0);
  metric.model = TM_TRY(fields.text("model_id"));
  metric.dataset_name = TM_TRY(fields.text("dataset_name"));
  metric.dataset_digest = TM_TRY(fields.text("dataset_digest"));
  return metric;
}

// Cuts a text after `characters_max` characters. MLflow's server does so with long parameters and tags, and autologging
// code relies on it.
void shorten(std::string& text, std::int64_t characters_max) {
  if (static_cast<std::int64_t>(text.size()) <= characters_max) return;
  std::int64_t left = characters_max;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80 || left-- > 0) continue;
    text.resize(i);
    return;
  }
}

Result<runs::Batch> read_batch(const Fields& fields) {
  runs::Batch batch;
  for (const Fields& item : TM_TRY(fields.objects("metrics"))) {
    batch.metrics.push_back(TM_TRY(of_item(read_metric(item), "metrics", batch.metrics.size())));
  }
  batch.params = TM_TRY(pairs(fields, "params"));
  batch.tags = TM_TRY(pairs(fields, "tags"));
  return batch;
}

// Adds an endpoint that logs what `read` makes of the fields.
template <class Read>
void add_log(Endpoints& endpoints, runs::Runs& runs, std::string_view path, std::string_view summary, Read read) {
  endpoints.add_async(Method::post, path, Right::write, summary, [&runs, read](const Call& call, Done done) {
    const auto id = [&]() -> Result<runs::RunId> {
      return run_id(TM_TRY(call.fields.required("run_id", "run_uuid")));
    }();
    if (!id) return done(std::unexpected(id.error()));
    auto batch = read(call.fields);
    if (!batch) return done(std::unexpected(std::move(batch).error()));
    for (runs::KeyValue& param : batch->params) shorten(param.value, runs.limits().param_chars_max);
    for (runs::KeyValue& tag : batch->tags) shorten(tag.value, runs.limits().tag_chars_max);
    log(runs, call, *id, *std::move(batch), std::move(done));
  });
}

Result<std::vector<runs::ModelUse>> read_models(const Fields& fields) {
  std::vector<runs::ModelUse> models;
  for (const Fields& item : TM_TRY(fields.objects("models"))) {
    models.push_back({TM_TRY(item.required("model_id")), TM_TRY(item.maybe_integer("step")).value_or(0)});
  }
  return models;
}

Result<std::string> log_inputs(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
  std::vector<runs::DatasetInput> inputs;
  for (const Fields& item : TM_TRY(call.fields.objects("datasets"))) {
    const Fields dataset = TM_TRY(item.object("dataset"));
    inputs.push_back({{TM_TRY(dataset.required("name")), TM_TRY(dataset.required("digest")),
                       TM_TRY(dataset.required("source_type")), TM_TRY(dataset.required("source")),
                       TM_TRY(dataset.maybe_text("schema")), TM_TRY(dataset.maybe_text("profile"))},
                      TM_TRY(pairs(item, "tags"))});
  }
  const auto models = TM_TRY(read_models(call.fields));
  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.add_inputs(tx, id, inputs, models); }));
  return std::string(kNothing);
}

// The older way to note a model: its description is appended to a list that a tag of the run holds.
Result<std::string> log_model(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
  const json::Value model = TM_TRY(json::parse(TM_TRY(call.fields.required("model_json"))));
  const json::Object* object = model.if_object();
  for (const char* field : {"artifact_path", "flavors", "utc_time_created", "run_id"}) {
    if (object == nullptr || !object->contains(field)) {
      return fail(Code::kInvalidArgument, "mlflow.bad_model",
                  fmt::format("Model json is missing mandatory fields: '{}'.", field), "Send it.");
    }
  }
  TM_CHECK(runs.database().write([&](sql::Tx& tx) -> Result<void> {
    json::Array history;
    for (const auto& tag : TM_TRY(runs.run(tx, id)).tags) {
      if (tag.key != kModelHistoryTag) continue;
      if (auto kept = json::parse(tag.value); kept && kept->is_array()) history = kept->get_array();
    }
    history.push_back(model);
    return runs.log(tx, id, {{}, {}, {{std::string(kModelHistoryTag), json::serialize(history)}}});
  }));
  return std::string(kNothing);
}

}  // namespace

void add_logging(Endpoints& endpoints, runs::Runs& runs) {
  add_log(endpoints, runs, "/mlflow/runs/log-metric", "Log a point of a metric",
          [](const Fields& fields) -> Result<runs::Batch> {
            return runs::Batch{{TM_TRY(read_metric(fields))}, {}, {}};
          });
  for (const std::string_view path : {"/mlflow/runs/log-parameter", "/mlflow/runs/log-param"}) {
    add_log(endpoints, runs, path, "Log a parameter", [](const Fields& fields) -> Result<runs::Batch> {
      return runs::Batch{{}, {{TM_TRY(fields.required("key")), TM_TRY(fields.text("value"))}}, {}};
    });
  }
  add_log(endpoints, runs, "/mlflow/runs/set-tag", "Set a tag of a run",
          [](const Fields& fields) -> Result<runs::Batch> {
            return runs::Batch{{}, {}, {{TM_TRY(fields.required("key")), TM_TRY(fields.text("value"))}}};
          });
  add_log(endpoints, runs, "/mlflow/runs/log-batch", "Log metrics, parameters and tags at once", read_batch);
  endpoints.add(Method::post, "/mlflow/runs/delete-tag", Right::write, "Delete a tag of a run",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
                  const std::string key = TM_TRY(call.fields.required("key"));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.delete_tag(tx, id, key); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::post, "/mlflow/runs/log-inputs", Right::write, "Log the data sets that a run reads",
                [&runs](const Call& call) { return log_inputs(runs, call); });
  endpoints.add(Method::post, "/mlflow/runs/outputs", Right::write, "Log the models that a run makes",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
                  const auto models = TM_TRY(read_models(call.fields));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.add_outputs(tx, id, models); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::post, "/mlflow/runs/log-model", Right::write, "Note a model in the older way",
                [&runs](const Call& call) { return log_model(runs, call); });
}

}  // namespace tidemill::mlflow
