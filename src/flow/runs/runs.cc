// Runs: their beginning, changes and end. What they log is in log.cc.
#include "flow/runs/runs.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "flow/runs/checks.h"
#include "flow/runs/events.h"
#include "flow/runs/metric_value.h"

namespace tidemill::runs {
namespace {

// Lists the columns that read_info reads, with the lifecycle of the experiment folded in.
constexpr sql::Query kGet{"runs.get",
                          "SELECT r.n, r.id, r.experiment, r.name, r.person, r.status, iif(e.lifecycle = 'active', "
                          "r.lifecycle, 'deleted'), r.start_ms, r.end_ms,"
                          " e.artefact_root FROM runs r JOIN experiments e ON e.id = r.experiment WHERE r.id = ?1"};
constexpr sql::Query kGetByNumber{
    "runs.get_by_number",
    "SELECT r.n, r.id, r.experiment, r.name, r.person, r.status, iif(e.lifecycle = 'active', r.lifecycle, 'deleted'), "
    "r.start_ms, r.end_ms,"
    " e.artefact_root FROM runs r JOIN experiments e ON e.id = r.experiment WHERE r.n = ?1"};
constexpr sql::Query kAdd{"runs.add",
                          "INSERT INTO runs (id, experiment, name, person, status, lifecycle, start_ms)"
                          " VALUES (?1, ?2, ?3, ?4, 'running', 'active', ?5)"};
constexpr sql::Query kChange{"runs.change", "UPDATE runs SET status = ?2, end_ms = ?3, name = ?4 WHERE id = ?1"};
constexpr sql::Query kSetLifecycle{"runs.set_lifecycle",
                                   "UPDATE runs SET lifecycle = ?2 WHERE id = ?1 AND lifecycle <> ?2"};
constexpr sql::Query kMetrics{"runs.latest_metrics",
                              "SELECT k.key, m.step, m.at_ms, m.value, m.points FROM run_latest_metrics m"
                              " JOIN run_keys k ON k.id = m.key WHERE m.run = ?1"};
constexpr sql::Query kParams{
    "runs.params", "SELECT k.key, p.value FROM run_params p JOIN run_keys k ON k.id = p.key WHERE p.run = ?1"};
constexpr sql::Query kTags{"runs.tags",
                           "SELECT k.key, t.value FROM run_tags t JOIN run_keys k ON k.id = t.key WHERE t.run = ?1"};
constexpr sql::Query kInputs{
    "runs.inputs",
    "SELECT d.id, d.name, d.digest, d.source_type, d.source, d.schema, d.profile FROM run_inputs i"
    " JOIN run_datasets d ON d.id = i.dataset WHERE i.run = ?1 ORDER BY d.id"};
constexpr sql::Query kInputTags{"runs.input_tags",
                                "SELECT key, value FROM run_input_tags WHERE run = ?1 AND dataset = ?2"};
constexpr sql::Query kModels{"runs.models", "SELECT direction, model, step FROM run_models WHERE run = ?1"};

struct Row {
  std::int64_t n = 0;
  RunInfo info;
};

Row read_row(const sql::Row& row) {
  Row out;
  out.n = row.integer(0);
  out.info.id = row.id<RunId>(1);
  out.info.experiment = ExperimentId(row.integer(2));
  out.info.name = row.string(3);
  out.info.person = row.string(4);
  out.info.status = row.enumerator<Status>(5);
  out.info.lifecycle = row.enumerator<Lifecycle>(6);
  out.info.start_ms = row.maybe_integer(7);
  out.info.end_ms = row.maybe_integer(8);
  out.info.artefact_root = row.string(9);
  return out;
}

Result<Row> existing(sql::Tx& tx, const RunId& id) {
  auto found = TM_TRY(tx.one<Row>(kGet, read_row, id));
  if (!found) return unknown_run(id);
  return *std::move(found);
}

KeyValue read_pair(const sql::Row& row) { return {row.string(0), row.string(1)}; }

LatestMetric read_metric(const sql::Row& row) {
  LatestMetric metric;
  metric.key = row.string(0);
  metric.step = row.integer(1);
  metric.at_ms = row.integer(2);
  metric.value = from_sortable(row.integer(3));
  metric.points = row.integer(4);
  return metric;
}

std::string subject(const RunId& id) { return "runs/" + id.str(); }

void add_pairs(Sha256& hash, std::string_view kind, const std::vector<KeyValue>& pairs) {
  for (const KeyValue& pair : pairs) {
    hash.update(fmt::format("{} {}:{} {}:{}\n", kind, pair.key.size(), pair.key, pair.value.size(), pair.value));
  }
}

// Returns the SHA-256 over parameters, tags and the latest point of each metric, in the order of their keys: lengths
// before texts, metric values as hexadecimal floats, so that it has one spelling only.
std::string digest_of(const Run& run) {
  Sha256 hash;
  add_pairs(hash, "param", run.params);
  add_pairs(hash, "tag", run.tags);
  for (const LatestMetric& metric : run.metrics) {
    hash.update(fmt::format("metric {}:{} {} {} {:a} {}\n", metric.key.size(), metric.key, metric.step, metric.at_ms,
                            metric.value, metric.points));
  }
  return to_hex(hash.finish());
}

template <class T>
void sort_by_key(std::vector<T>& items) {
  std::ranges::sort(items, {}, &T::key);
}

}  // namespace

Result<Run> Runs::start(sql::Tx& tx, const NewRun& run) {
  const Experiment experiment = TM_TRY(this->experiment(tx, run.experiment));
  if (experiment.lifecycle != Lifecycle::active) {
    return fail(Code::kInvalidArgument, "experiments.deleted",
                fmt::format("The experiment {} must be in the 'active' state: it is deleted.", run.experiment.str()),
                "Restore it first.");
  }
  TM_CHECK(check_batch({{}, {}, run.tags}));
  const RunId id = run.id ? *run.id : RunId::generate();
  if (auto added = tx.exec(kAdd, id, run.experiment.number(), run.name, run.person, run.start_ms); !added) {
    if (added.error().code != Code::kAlreadyExists) return std::unexpected(added.error());
    return fail(Code::kAlreadyExists, "runs.exists", fmt::format("Run {} exists already.", id.str()),
                "Log to it, or leave the id out.", {{"run", id.str()}});
  }
  TM_CHECK(log_tags(tx, {tx.last_row_id(), run.experiment.number()}, run.tags));
  return this->run(tx, id);
}

Result<RunInfo> Runs::info(sql::Tx& tx, const RunId& id) { return TM_TRY(existing(tx, id)).info; }

Result<Run> Runs::run(sql::Tx& tx, const RunId& id) {
  Row row = TM_TRY(existing(tx, id));
  Run run;
  run.info = std::move(row.info);
  TM_CHECK(fill(tx, row.n, run));
  return run;
}

Result<void> Runs::fill(sql::Tx& tx, std::int64_t n, Run& run) {
  if (run.info.id.empty()) {
    auto found = TM_TRY(tx.one<Row>(kGetByNumber, read_row, n));
    if (found) run.info = std::move(found->info);
  }
  run.metrics = TM_TRY(tx.all<LatestMetric>(kMetrics, read_metric, n));
  run.params = TM_TRY(tx.all<KeyValue>(kParams, read_pair, n));
  run.tags = TM_TRY(tx.all<KeyValue>(kTags, read_pair, n));
  sort_by_key(run.metrics);
  sort_by_key(run.params);
  sort_by_key(run.tags);
  std::vector<std::int64_t> datasets;
  TM_CHECK(tx.each(
      kInputs,
      [&](const sql::Row& row) {
        datasets.push_back(row.integer(0));
        run.inputs.push_back(
            {{row.string(1), row.string(2), row.string(3), row.string(4), row.maybe_string(5), row.maybe_string(6)},
             {}});
      },
      n));
  for (std::size_t i = 0; i < datasets.size(); ++i) {
    run.inputs[i].tags = TM_TRY(tx.all<KeyValue>(kInputTags, read_pair, n, datasets[i]));
  }
  return tx.each(
      kModels,
      [&](const sql::Row& row) {
        (row.text(0) == "input" ? run.input_models : run.output_models).push_back({row.string(1), row.integer(2)});
      },
      n);
}

Result<RunInfo> Runs::change(sql::Tx& tx, const access::Actor& actor, const RunId& id, const RunChange& change) {
  TM_CHECK(writable(tx, id));
  const RunInfo before = TM_TRY(info(tx, id));
  RunInfo after = before;
  if (change.status) after.status = *change.status;
  if (change.end_ms) after.end_ms = change.end_ms;
  if (change.name) after.name = *change.name;
  TM_CHECK(check_length("run_name", after.name, limits_.tag_chars_max));
  TM_CHECK(tx.exec(kChange, id, after.status, after.end_ms, after.name));
  if (is_final(after.status) && !is_final(before.status)) TM_CHECK(emit_ended(tx, actor, after));
  return after;
}

Result<void> Runs::emit_ended(sql::Tx& tx, const access::Actor& actor, const RunInfo& info) {
  const Run run = TM_TRY(this->run(tx, info.id));
  std::int64_t points = 0;
  for (const LatestMetric& metric : run.metrics) points += metric.points;
  json::Object payload{{"experiment", info.experiment.str()},
                       {"name", info.name},
                       {"status", enum_name(info.status)},
                       {"params", run.params.size()},
                       {"tags", run.tags.size()},
                       {"metrics", run.metrics.size()},
                       {"points", points},
                       {"digest", digest_of(run)}};
  if (info.start_ms) payload["start_ms"] = *info.start_ms;
  if (info.end_ms) payload["end_ms"] = *info.end_ms;
  return emit(tx, actor, events_of::kEnded, subject(info.id), std::move(payload));
}

Result<void> Runs::delete_run(sql::Tx& tx, const access::Actor& actor, const RunId& id) {
  const RunInfo info = TM_TRY(this->info(tx, id));
  if (TM_TRY(tx.exec(kSetLifecycle, id, Lifecycle::deleted)) == 0) return {};
  return emit(tx, actor, events_of::kDeleted, subject(id),
              {{"experiment", info.experiment.str()}, {"name", info.name}});
}

Result<void> Runs::restore_run(sql::Tx& tx, const access::Actor& actor, const RunId& id) {
  const RunInfo info = TM_TRY(this->info(tx, id));
  if (TM_TRY(tx.exec(kSetLifecycle, id, Lifecycle::active)) == 0) return {};
  return emit(tx, actor, events_of::kRestored, subject(id),
              {{"experiment", info.experiment.str()}, {"name", info.name}});
}

Result<Runs::Target> Runs::writable(sql::Tx& tx, const RunId& id) {
  const Row row = TM_TRY(existing(tx, id));
  if (row.info.lifecycle == Lifecycle::active) return Target{row.n, row.info.experiment.number()};
  return fail(Code::kInvalidArgument, "runs.deleted",
              fmt::format("The run {} must be in the 'active' state: it is deleted.", id.str()),
              "Restore the run, or its experiment, first.", {{"run", id.str()}});
}

}  // namespace tidemill::runs
