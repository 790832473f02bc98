// The data sets that runs read, and the logged models that they read and make.
#include <fmt/format.h>

#include <utility>

#include "flow/runs/checks.h"
#include "flow/runs/runs.h"
#include "flow/runs/sql_text.h"

namespace tidemill::runs {
namespace {

constexpr std::int64_t kInputTagKeyCharactersMax = 255;
constexpr std::int64_t kInputTagCharactersMax = 500;
constexpr std::int64_t kSummariesMax = 1'000;

constexpr sql::Query kFindDataset{"runs.find_dataset",
                                  "SELECT id FROM run_datasets WHERE experiment = ?1 AND name = ?2 AND digest = ?3"};
constexpr sql::Query kAddDataset{
    "runs.add_dataset",
    "INSERT INTO run_datasets (experiment, name, digest, source_type, source, schema, profile)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr sql::Query kAddInput{"runs.add_input",
                               "INSERT INTO run_inputs (run, dataset) VALUES (?1, ?2) ON CONFLICT DO NOTHING"};
constexpr sql::Query kAddInputTag{
    "runs.add_input_tag",
    "INSERT INTO run_input_tags (run, dataset, key, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"};
constexpr sql::Query kAddModel{"runs.add_model",
                               "INSERT INTO run_models (run, direction, model, step) VALUES (?1, ?2, ?3, ?4)"
                               " ON CONFLICT (run, direction, model) DO UPDATE SET step = excluded.step"};

Result<void> check_bytes(std::string_view where, std::string_view text, std::int64_t bytes_max) {
  if (static_cast<std::int64_t>(text.size()) <= bytes_max) return {};
  return invalid(fmt::format("'{}' exceeds the maximum length of {} bytes: it has {}.", where, bytes_max, text.size()),
                 "Shorten it.");
}

Result<void> check_input(const DatasetInput& input, const Limits& limits) {
  const Dataset& dataset = input.dataset;
  for (const auto& [field, text] : {std::pair("name", &dataset.name),
                                    {"digest", &dataset.digest},
                                    {"source_type", &dataset.source_type},
                                    {"source", &dataset.source}}) {
    if (text->empty())
      return invalid(fmt::format("Missing value for required parameter 'dataset.{}'.", field),
                     "Give the data set one.");
  }
  TM_CHECK(check_length("dataset.name", dataset.name, limits.dataset_name_chars_max));
  TM_CHECK(check_length("dataset.digest", dataset.digest, limits.dataset_digest_chars_max));
  TM_CHECK(check_bytes("dataset.source", dataset.source, limits.dataset_source_bytes_max));
  TM_CHECK(check_bytes("dataset.schema", dataset.schema.value_or(""), limits.dataset_schema_bytes_max));
  TM_CHECK(check_bytes("dataset.profile", dataset.profile.value_or(""), limits.dataset_profile_bytes_max));
  for (const KeyValue& tag : input.tags) {
    if (tag.key.empty()) return invalid("Missing value for required parameter 'tags.key'.", "Give the tag a key.");
    TM_CHECK(check_length("tags.key", tag.key, kInputTagKeyCharactersMax));
    TM_CHECK(check_length("tags.value", tag.value, kInputTagCharactersMax));
  }
  return {};
}

}  // namespace

Result<void> Runs::add_inputs(sql::Tx& tx, const RunId& id, const std::vector<DatasetInput>& inputs,
                              const std::vector<ModelUse>& models) {
  if (static_cast<std::int64_t>(inputs.size()) > limits_.batch_inputs_max) {
    return invalid(
        fmt::format("A request can log at most {} datasets. Got {}.", limits_.batch_inputs_max, inputs.size()),
        "Send fewer at once.");
  }
  const Target run = TM_TRY(writable(tx, id));
  for (const DatasetInput& input : inputs) {
    TM_CHECK(check_input(input, limits_));
    const Dataset& dataset = input.dataset;
    std::int64_t number = TM_TRY(tx.integer(kFindDataset, 0, run.experiment, dataset.name, dataset.digest));
    if (number == 0) {
      TM_CHECK(tx.exec(kAddDataset, run.experiment, dataset.name, dataset.digest, dataset.source_type, dataset.source,
                       dataset.schema, dataset.profile));
      number = tx.last_row_id();
    }
    TM_CHECK(tx.exec(kAddInput, run.n, number));
    for (const KeyValue& tag : input.tags) TM_CHECK(tx.exec(kAddInputTag, run.n, number, tag.key, tag.value));
  }
  for (const ModelUse& model : models) TM_CHECK(tx.exec(kAddModel, run.n, "input", model.model, model.step));
  return {};
}

Result<void> Runs::add_outputs(sql::Tx& tx, const RunId& id, const std::vector<ModelUse>& models) {
  const Target run = TM_TRY(writable(tx, id));
  for (const ModelUse& model : models) TM_CHECK(tx.exec(kAddModel, run.n, "output", model.model, model.step));
  return {};
}

Result<std::vector<DatasetSummary>> Runs::datasets(sql::Tx& tx, const std::vector<ExperimentId>& experiments) {
  std::vector<DatasetSummary> summaries;
  if (experiments.empty()) return summaries;
  SqlText sql;
  sql << "SELECT DISTINCT d.experiment, d.name, d.digest, coalesce(t.value, '') FROM run_datasets d JOIN run_inputs i "
         "ON i.dataset = d.id"
         " LEFT JOIN run_input_tags t ON t.run = i.run AND t.dataset = d.id AND t.key = 'mlflow.data.context' WHERE "
         "d.experiment";
  append_ids(sql, experiments);
  sql << " ORDER BY 1, 2, 3, 4 LIMIT " << sql::Value(kSummariesMax);
  return tx.all<DatasetSummary>(
      sql.query("runs.datasets"),
      [](const sql::Row& row) {
        return DatasetSummary{ExperimentId(row.integer(0)), row.string(1), row.string(2), row.string(3)};
      },
      sql.values());
}

}  // namespace tidemill::runs
