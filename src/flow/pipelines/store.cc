#include "flow/pipelines/store.h"

namespace tidemill::pipelines::store {
namespace {

constexpr sql::Query kPutPipeline{
    "pipelines.put",
    "INSERT INTO pipelines (name, description, latest, made_by, made_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
    " ON CONFLICT (name) DO UPDATE SET description = excluded.description, latest = excluded.latest"};
constexpr sql::Query kFindPipeline{"pipelines.find",
                                   "SELECT name, description, latest, made_by, made_ms FROM pipelines WHERE name = ?1"};
constexpr sql::Query kListPipelines{"pipelines.list",
                                    "SELECT name, description, latest, made_by, made_ms FROM pipelines ORDER BY name"};
constexpr sql::Query kInsertVersion{
    "pipelines.insert_version",
    "INSERT INTO pipeline_versions (pipeline, number, digest, definition, files, made_by, made_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"};
constexpr sql::Query kFindVersion{
    "pipelines.find_version",
    "SELECT pipeline, number, digest, definition, files, made_by, made_ms FROM pipeline_versions"
    " WHERE pipeline = ?1 AND number = ?2"};
constexpr sql::Query kFindByDigest{
    "pipelines.find_version_by_digest",
    "SELECT pipeline, number, digest, definition, files, made_by, made_ms FROM pipeline_versions"
    " WHERE pipeline = ?1 AND digest = ?2"};
constexpr sql::Query kInsertRun{
    "pipelines.insert_run",
    "INSERT INTO pipeline_runs (id, pipeline, version, state, params, cause, made_by, queued_ms, job)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"};
constexpr sql::Query kFindRun{
    "pipelines.find_run",
    "SELECT id, pipeline, version, state, params, cause, message, made_by, queued_ms, started_ms, finished_ms"
    " FROM pipeline_runs WHERE id = ?1"};
constexpr sql::Query kJobOf{"pipelines.job_of", "SELECT job FROM pipeline_runs WHERE id = ?1"};
constexpr sql::Query kListRuns{
    "pipelines.list_runs",
    "SELECT id, pipeline, version, state, params, cause, message, made_by, queued_ms, started_ms, finished_ms"
    " FROM pipeline_runs WHERE (?1 = '' OR pipeline = ?1) AND (?2 IS NULL OR state = ?2)"
    " AND (?3 = '' OR id < ?3) ORDER BY id DESC LIMIT ?4"};
constexpr sql::Query kCountLive{"pipelines.count_live",
                                "SELECT count(*) FROM pipeline_runs WHERE state IN ('queued', 'running')"};
constexpr sql::Query kUpdateRun{
    "pipelines.update_run",
    "UPDATE pipeline_runs SET state = ?2, message = ?3, started_ms = ?4, finished_ms = ?5 WHERE id = ?1"};
constexpr sql::Query kInsertStep{
    "pipelines.insert_step", "INSERT INTO pipeline_steps (run, position, name, state) VALUES (?1, ?2, ?3, 'waiting')"};
constexpr sql::Query kUpdateStep{
    "pipelines.update_step",
    "UPDATE pipeline_steps SET state = ?3, attempt = ?4, failures = ?5, cached = ?6, started_ms = ?7, finished_ms = ?8,"
    " message = ?9, result = ?10, outputs = ?11 WHERE run = ?1 AND position = ?2"};
constexpr sql::Query kListSteps{
    "pipelines.list_steps",
    "SELECT name, state, attempt, failures, cached, started_ms, finished_ms, message, result, outputs"
    " FROM pipeline_steps WHERE run = ?1 ORDER BY position"};
constexpr sql::Query kPutCached{
    "pipelines.put_cached",
    "INSERT OR REPLACE INTO pipeline_cache (key, result, outputs, run, step, made_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"};
constexpr sql::Query kFindCached{"pipelines.find_cached",
                                 "SELECT result, outputs, run, step FROM pipeline_cache WHERE key = ?1"};

// Our own tables hold what we wrote; text that does not read back is a damaged database.
template <class T>
Result<T> stored(std::string_view text) {
  auto value = json::decode<T>(text);
  if (value) return value;
  return fail(Code::kInternal, "pipelines.damaged",
              "A stored value of pipelines does not read back: " + value.error().message,
              "Run the integrity check; restore a backup.");
}

Pipeline read_pipeline(const sql::Row& row) {
  return {row.string(0), row.string(1), row.integer(2), row.string(3), row.integer(4)};
}

Result<VersionRow> read_version(const sql::Row& row) {
  VersionRow version{row.string(0), row.integer(1), row.string(2), row.string(3), {}, row.string(5), row.integer(6)};
  version.files = TM_TRY(stored<std::map<std::string, std::string>>(row.text(4)));
  return version;
}

Result<Run> read_run(const sql::Row& row) {
  Run run;
  run.id = row.id<PipelineRunId>(0);
  run.pipeline = row.string(1);
  run.version = row.integer(2);
  run.state = row.enumerator<RunState>(3);
  run.params = TM_TRY(stored<json::Object>(row.text(4)));
  run.cause = row.string(5);
  run.message = row.string(6);
  run.made_by = row.string(7);
  run.queued_ms = row.integer(8);
  run.started_ms = row.maybe_integer(9);
  run.finished_ms = row.maybe_integer(10);
  return run;
}

Result<Step> read_step(const sql::Row& row) {
  Step step;
  step.name = row.string(0);
  step.state = row.enumerator<StepState>(1);
  step.attempts = row.integer(2);
  step.failures = row.integer(3);
  step.cached = row.boolean(4);
  step.started_ms = row.maybe_integer(5);
  step.finished_ms = row.maybe_integer(6);
  step.message = row.string(7);
  step.result = TM_TRY(stored<json::Object>(row.text(8)));
  step.outputs = TM_TRY(stored<std::vector<Output>>(row.text(9)));
  return step;
}

// Runs a query whose rows may fail to be read.
template <class T, class Read, class... Args>
Result<std::vector<T>> read_all(sql::Tx& tx, const sql::Query& query, Read read, const Args&... args) {
  std::vector<T> rows;
  TM_CHECK(tx.each(
      query,
      [&](const sql::Row& row) -> Result<void> {
        rows.push_back(TM_TRY(read(row)));
        return {};
      },
      args...));
  return rows;
}

template <class T, class Read, class... Args>
Result<std::optional<T>> read_one(sql::Tx& tx, const sql::Query& query, Read read, const Args&... args) {
  auto rows = TM_TRY(read_all<T>(tx, query, read, args...));
  if (rows.empty()) return std::optional<T>();
  return std::optional<T>(std::move(rows.front()));
}

}  // namespace

Result<void> put_pipeline(sql::Tx& tx, const Pipeline& pipeline) {
  TM_CHECK(
      tx.exec(kPutPipeline, pipeline.name, pipeline.description, pipeline.version, pipeline.made_by, pipeline.made_ms));
  return {};
}

Result<std::optional<Pipeline>> find_pipeline(sql::Tx& tx, std::string_view name) {
  return tx.one<Pipeline>(kFindPipeline, read_pipeline, name);
}

Result<std::vector<Pipeline>> list_pipelines(sql::Tx& tx) { return tx.all<Pipeline>(kListPipelines, read_pipeline); }

Result<void> insert_version(sql::Tx& tx, const VersionRow& version) {
  TM_CHECK(tx.exec(kInsertVersion, version.pipeline, version.number, version.digest, version.definition,
                   json::encode(version.files), version.made_by, version.made_ms));
  return {};
}

Result<std::optional<VersionRow>> find_version(sql::Tx& tx, std::string_view pipeline, std::int64_t number) {
  return read_one<VersionRow>(tx, kFindVersion, read_version, pipeline, number);
}

Result<std::optional<VersionRow>> find_version_by_digest(sql::Tx& tx, std::string_view pipeline,
                                                         std::string_view digest) {
  return read_one<VersionRow>(tx, kFindByDigest, read_version, pipeline, digest);
}

Result<void> insert_run(sql::Tx& tx, const Run& run, std::string_view job) {
  TM_CHECK(tx.exec(kInsertRun, run.id, run.pipeline, run.version, run.state, json::serialize(run.params), run.cause,
                   run.made_by, run.queued_ms, job));
  return {};
}

Result<std::optional<Run>> find_run(sql::Tx& tx, const PipelineRunId& id) {
  return read_one<Run>(tx, kFindRun, read_run, id);
}

Result<std::string> job_of(sql::Tx& tx, const PipelineRunId& id) {
  return TM_TRY(tx.one<std::string>(
                    kJobOf, [](const sql::Row& row) { return row.string(0); }, id))
      .value_or("");
}

Result<std::vector<Run>> list_runs(sql::Tx& tx, const RunFilter& filter) {
  return read_all<Run>(tx, kListRuns, read_run, filter.pipeline, filter.state, filter.before, filter.limit);
}

Result<std::int64_t> count_live_runs(sql::Tx& tx) { return tx.integer(kCountLive, 0); }

Result<void> update_run(sql::Tx& tx, const Run& run) {
  TM_CHECK(tx.exec(kUpdateRun, run.id, run.state, run.message, run.started_ms, run.finished_ms));
  return {};
}

Result<void> insert_step(sql::Tx& tx, const PipelineRunId& run, std::size_t position, std::string_view name) {
  TM_CHECK(tx.exec(kInsertStep, run, position, name));
  return {};
}

Result<void> update_step(sql::Tx& tx, const PipelineRunId& run, std::size_t position, const Step& step) {
  TM_CHECK(tx.exec(kUpdateStep, run, position, step.state, step.attempts, step.failures, step.cached, step.started_ms,
                   step.finished_ms, step.message, json::serialize(step.result), json::encode(step.outputs)));
  return {};
}

Result<std::vector<Step>> list_steps(sql::Tx& tx, const PipelineRunId& run) {
  return read_all<Step>(tx, kListSteps, read_step, run);
}

Result<void> put_cached(sql::Tx& tx, std::string_view key, const Cached& cached, std::int64_t made_ms) {
  TM_CHECK(tx.exec(kPutCached, key, json::serialize(cached.result), json::encode(cached.outputs), cached.run,
                   cached.step, made_ms));
  return {};
}

Result<std::optional<Cached>> find_cached(sql::Tx& tx, std::string_view key) {
  return read_one<Cached>(
      tx, kFindCached,
      [](const sql::Row& row) -> Result<Cached> {
        Cached cached{{}, {}, row.string(2), row.string(3)};
        cached.result = TM_TRY(stored<json::Object>(row.text(0)));
        cached.outputs = TM_TRY(stored<std::vector<Output>>(row.text(1)));
        return cached;
      },
      key);
}

}  // namespace tidemill::pipelines::store
