// The queries of pipelines. Private to the room.
#pragma once

#include <optional>

#include "flow/pipelines/types.h"
#include "storage/sql/database.h"

namespace tidemill::pipelines::store {

struct VersionRow {
  std::string pipeline;
  std::int64_t number = 0;
  std::string digest;
  std::string definition;
  std::map<std::string, std::string> files;  // path → blob
  std::string made_by;
  std::int64_t made_ms = 0;
};

[[nodiscard]] Result<void> put_pipeline(sql::Tx& tx, const Pipeline& pipeline);
[[nodiscard]] Result<std::optional<Pipeline>> find_pipeline(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<std::vector<Pipeline>> list_pipelines(sql::Tx& tx);
[[nodiscard]] Result<void> insert_version(sql::Tx& tx, const VersionRow& version);
[[nodiscard]] Result<std::optional<VersionRow>> find_version(sql::Tx& tx, std::string_view pipeline,
                                                             std::int64_t number);
[[nodiscard]] Result<std::optional<VersionRow>> find_version_by_digest(sql::Tx& tx, std::string_view pipeline,
                                                                       std::string_view digest);

[[nodiscard]] Result<void> insert_run(sql::Tx& tx, const Run& run, std::string_view job);
// Without its steps.
[[nodiscard]] Result<std::optional<Run>> find_run(sql::Tx& tx, const PipelineRunId& id);
[[nodiscard]] Result<std::string> job_of(sql::Tx& tx, const PipelineRunId& id);
// Newest first, without their steps.
[[nodiscard]] Result<std::vector<Run>> list_runs(sql::Tx& tx, const RunFilter& filter);
[[nodiscard]] Result<std::int64_t> count_live_runs(sql::Tx& tx);
// Writes what changes in a run: state, message and times.
[[nodiscard]] Result<void> update_run(sql::Tx& tx, const Run& run);
[[nodiscard]] Result<void> insert_step(sql::Tx& tx, const PipelineRunId& run, std::size_t position,
                                       std::string_view name);
[[nodiscard]] Result<void> update_step(sql::Tx& tx, const PipelineRunId& run, std::size_t position, const Step& step);
[[nodiscard]] Result<std::vector<Step>> list_steps(sql::Tx& tx, const PipelineRunId& run);

struct Cached {
  json::Object result;
  std::vector<Output> outputs;
  std::string run;
  std::string step;
};
[[nodiscard]] Result<void> put_cached(sql::Tx& tx, std::string_view key, const Cached& cached, std::int64_t made_ms);
[[nodiscard]] Result<std::optional<Cached>> find_cached(sql::Tx& tx, std::string_view key);

}  // namespace tidemill::pipelines::store
