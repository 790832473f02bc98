// What runs log: the hottest writes of the whole engine. Several requests share one commit (storage/sql), so what
// counts here is the number of statements a request needs: one to find its run, one a point, one a curve.
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "flow/runs/checks.h"
#include "flow/runs/metric_value.h"
#include "flow/runs/runs.h"

namespace tidemill::runs {
namespace {

constexpr std::size_t kKeysKeptMax = 100'000;  // names whose number is remembered; others are looked up

constexpr sql::Query kFindKey{"runs.find_key", "SELECT id FROM run_keys WHERE key = ?1"};
constexpr sql::Query kAddKey{"runs.add_key", "INSERT INTO run_keys (key) VALUES (?1)"};
constexpr sql::Query kAddPoint{
    "runs.add_point",
    "INSERT INTO run_metrics (run, key, step, at_ms, value) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING"};
// Row values compare column by column, so this is "the later step, then the later time, then the larger value".
constexpr sql::Query kAdvanceLatest{
    "runs.advance_latest",
    "INSERT INTO run_latest_metrics (run, key, experiment, step, at_ms, value, points) VALUES (?1, ?2, ?3, ?4, ?5, ?6, "
    "?7)"
    " ON CONFLICT (run, key) DO UPDATE SET points = points + excluded.points,"
    " step = iif((excluded.step, excluded.at_ms, excluded.value) > (step, at_ms, value), excluded.step, step),"
    " at_ms = iif((excluded.step, excluded.at_ms, excluded.value) > (step, at_ms, value), excluded.at_ms, at_ms),"
    " value = iif((excluded.step, excluded.at_ms, excluded.value) > (step, at_ms, value), excluded.value, value)"};
constexpr sql::Query kAddParam{
    "runs.add_param",
    "INSERT INTO run_params (run, key, experiment, value) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"};
constexpr sql::Query kGetParam{"runs.get_param", "SELECT value FROM run_params WHERE run = ?1 AND key = ?2"};
constexpr sql::Query kSetTag{"runs.set_tag",
                             "INSERT INTO run_tags (run, key, experiment, value) VALUES (?1, ?2, ?3, ?4)"
                             " ON CONFLICT (run, key) DO UPDATE SET value = excluded.value"};
constexpr sql::Query kDeleteTag{
    "runs.delete_tag", "DELETE FROM run_tags WHERE run = ?1 AND key = (SELECT id FROM run_keys WHERE key = ?2)"};
constexpr sql::Query kAddModelPoint{
    "logged_models.add_point",
    "INSERT INTO logged_model_metrics (model, key, dataset_name, dataset_digest, step, at_ms, value, run)"
    " SELECT n, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM logged_models WHERE id = ?1 ON CONFLICT DO NOTHING"};

// The best point of one curve within a batch, and how many of its points were new.
struct Curve {
  std::int64_t step = 0;
  std::int64_t at_ms = 0;
  std::int64_t value = 0;
  std::int64_t points_new = 0;
};

// Returns "metrics[3].key", or the bare name where a request held one item alone.
std::string where(std::string_view list, std::size_t index, std::size_t count, std::string_view field) {
  return count == 1 ? std::string(field) : fmt::format("{}[{}].{}", list, index, field);
}

Result<void> check_count(std::string_view what, std::size_t count, std::int64_t max) {
  if (static_cast<std::int64_t>(count) <= max) return {};
  return fail(
      Code::kInvalidArgument, "runs.batch_too_large",
      fmt::format(
          "A batch logging request can contain at most {} {}. Got {} {}. Please split up {} across multiple requests.",
          max, what, count, what, what),
      "Send less at once.", {{"max", std::to_string(max)}});
}

}  // namespace

Result<void> Runs::check_batch(const Batch& batch) const {
  TM_CHECK(check_count("metrics", batch.metrics.size(), limits_.batch_metrics_max));
  TM_CHECK(check_count("params", batch.params.size(), limits_.batch_params_max));
  TM_CHECK(check_count("tags", batch.tags.size(), limits_.batch_tags_max));
  TM_CHECK(
      check_count("items", batch.metrics.size() + batch.params.size() + batch.tags.size(), limits_.batch_items_max));
  for (std::size_t i = 0; i < batch.metrics.size(); ++i) {
    const Metric& metric = batch.metrics[i];
    TM_CHECK(check_key(where("metrics", i, batch.metrics.size(), "key"), metric.key, limits_));
    if (metric.at_ms < 0) {
      return invalid(
          fmt::format(
              "Invalid value {} for parameter '{}' supplied: Timestamp must be a nonnegative long (64-bit integer).",
              metric.at_ms, where("metrics", i, batch.metrics.size(), "timestamp")),
          "Give milliseconds since 1970.");
    }
  }
  std::set<std::string_view> keys;
  for (std::size_t i = 0; i < batch.params.size(); ++i) {
    const auto& [key, value] = batch.params[i];
    TM_CHECK(check_key(where("params", i, batch.params.size(), "key"), key, limits_));
    TM_CHECK(check_length(where("params", i, batch.params.size(), "value"), value, limits_.param_chars_max));
    if (!keys.insert(key).second) {
      return invalid(fmt::format("Duplicate parameter keys have been submitted: '{}'.", key),
                     "Log each parameter once.");
    }
  }
  for (std::size_t i = 0; i < batch.tags.size(); ++i) {
    const auto& [key, value] = batch.tags[i];
    TM_CHECK(check_key(where("tags", i, batch.tags.size(), "key"), key, limits_));
    TM_CHECK(check_length(where("tags", i, batch.tags.size(), "value"), value, limits_.tag_chars_max));
  }
  return {};
}

Result<void> Runs::log(sql::Tx& tx, const RunId& id, const Batch& batch) {
  TM_CHECK(check_batch(batch));
  const Target run = TM_TRY(writable(tx, id));
  TM_CHECK(log_params(tx, id, run, batch.params));
  TM_CHECK(log_metrics(tx, id, run, batch.metrics));
  return log_tags(tx, run, batch.tags);
}

void Runs::log_async(RunId id, Batch batch, std::function<void(Result<void>)> done) {
  database_.write_async(
      [this, id = std::move(id), batch = std::move(batch)](sql::Tx& tx) { return log(tx, id, batch); },
      std::move(done));
}

Runs::~Runs() {
  // Writes run in the order in which they were queued, so when an empty one is done the others are.
  [[maybe_unused]] const auto done = database_.write([](sql::Tx&) -> Result<void> { return {}; });
}

Result<std::int64_t> Runs::key_id(sql::Tx& tx, std::string_view key) {
  std::string name(key);
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = key_ids_.find(name); known != key_ids_.end()) return known->second;
  }
  std::int64_t id = TM_TRY(tx.integer(kFindKey, 0, key));
  if (id == 0) {
    TM_CHECK(tx.exec(kAddKey, key));
    id = tx.last_row_id();
  }
  // Only what has been committed may be remembered: a row of an undone transaction gives its number to another key.
  tx.after_commit([this, name = std::move(name), id] {
    const std::lock_guard lock(mutex_);
    if (key_ids_.size() < kKeysKeptMax) key_ids_.emplace(name, id);
  });
  return id;
}

Result<void> Runs::log_metrics(sql::Tx& tx, const RunId& id, const Target& run, const std::vector<Metric>& metrics) {
  std::unordered_map<std::string_view, std::int64_t> ids;
  std::unordered_map<std::int64_t, Curve> curves;
  for (const Metric& metric : metrics) {
    auto [known, is_new] = ids.try_emplace(metric.key, 0);
    if (is_new) known->second = TM_TRY(key_id(tx, metric.key));
    const std::int64_t key = known->second;
    const std::int64_t value = to_sortable(metric.value);
    const std::int64_t added = TM_TRY(tx.exec(kAddPoint, run.n, key, metric.step, metric.at_ms, value));
    auto [curve, is_first] = curves.try_emplace(key, Curve{metric.step, metric.at_ms, value, 0});
    Curve& best = curve->second;
    best.points_new += added;
    if (!is_first && std::tie(metric.step, metric.at_ms, value) > std::tie(best.step, best.at_ms, best.value)) {
      best = {metric.step, metric.at_ms, value, best.points_new};
    }
    if (!metric.model.empty()) {
      TM_CHECK(tx.exec(kAddModelPoint, metric.model, metric.key, metric.dataset_name, metric.dataset_digest,
                       metric.step, metric.at_ms, value, id));
    }
  }
  for (const auto& [key, best] : curves) {
    if (best.points_new == 0) continue;  // all known: the latest is known too
    TM_CHECK(tx.exec(kAdvanceLatest, run.n, key, run.experiment, best.step, best.at_ms, best.value, best.points_new));
  }
  return {};
}

Result<void> Runs::log_params(sql::Tx& tx, const RunId& id, const Target& run, const std::vector<KeyValue>& params) {
  for (const auto& [name, value] : params) {
    const std::int64_t key = TM_TRY(key_id(tx, name));
    if (TM_TRY(tx.exec(kAddParam, run.n, key, run.experiment, value)) == 1) continue;
    const auto before = TM_TRY(tx.one<std::string>(
        kGetParam, [](const sql::Row& row) { return row.string(0); }, run.n, key));
    if (before == value) continue;
    return fail(Code::kInvalidArgument, "runs.param_changed",
                fmt::format("Changing param values is not allowed. Param with key='{}' was already logged with "
                            "value='{}' for run ID='{}'. "
                            "Attempted logging new value '{}'.",
                            name, before.value_or(""), id.str(), value),
                "Log the new value in a new run.", {{"run", id.str()}, {"param", name}});
  }
  return {};
}

Result<void> Runs::log_tags(sql::Tx& tx, const Target& run, const std::vector<KeyValue>& tags) {
  for (const auto& [name, value] : tags) {
    TM_CHECK(tx.exec(kSetTag, run.n, TM_TRY(key_id(tx, name)), run.experiment, value));
  }
  return {};
}

Result<void> Runs::delete_tag(sql::Tx& tx, const RunId& id, std::string_view key) {
  const Target run = TM_TRY(writable(tx, id));
  if (TM_TRY(tx.exec(kDeleteTag, run.n, key)) > 0) return {};
  return fail(Code::kNotFound, "runs.no_tag",
              fmt::format("No tag with name: {} in run with id {}.", key.substr(0, 250), id.str()),
              "Read the run's tags.", {{"run", id.str()}});
}

}  // namespace tidemill::runs
