// The room of runs: experiments, what their runs log, the models that training scripts write, and their files. See
// README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/runs/types.h"
#include "storage/blobs/store.h"
#include "storage/sql/database.h"

namespace tidemill::runs {

// A search, in the grammar of filter.h. `order_by` entries are such as "metrics.auc DESC".
struct Search {
  std::vector<ExperimentId> experiments{};  // of runs and logged models; ignored for experiments
  std::string filter{};
  std::vector<std::string> order_by{};
  View view = View::active;
  std::int64_t limit = 1'000;
  std::int64_t offset = 0;
};

// Curves of the same metric in several runs, thinned for a chart.
struct CurveQuery {
  std::vector<RunId> runs;
  std::string key;
  std::optional<std::int64_t> step_low;   // inclusive
  std::optional<std::int64_t> step_high;  // inclusive
  std::int64_t points_max = 320;          // of each run; its first and last point come in any case
};

struct RunPoint : Point {
  RunId run;
};

// All functions may be called from any thread. Those with a Tx& join the caller's transaction, the others make their
// own and must not be called within one. Unknown ids are kNotFound; ids, keys and values that break a limit or a rule
// are kInvalidArgument; writing to what is deleted is kInvalidArgument "runs.deleted".
class Runs {
 public:
  // Makes or updates its tables, and the experiment "Default". What is referred to must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<Runs>> create(sql::Database& database, events::Events& events,
                                                            blobs::Store& blobs, const Clock& clock,
                                                            Limits limits = {});

  // Waits for what log_async has queued, which refers to this.
  ~Runs();
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  // --- experiments ---

  // kAlreadyExists when the name is taken, also by a deleted one, or the id is. Event experiments.created.
  [[nodiscard]] Result<Experiment> add_experiment(sql::Tx& tx, const access::Actor& actor,
                                                  const NewExperiment& experiment);
  [[nodiscard]] Result<Experiment> experiment(sql::Tx& tx, ExperimentId id);
  [[nodiscard]] Result<Experiment> experiment(sql::Tx& tx, std::string_view name);
  // Fields of filter and order: name, experiment_id, creation_time, last_update_time, tags.<key>. Newest first by
  // default.
  [[nodiscard]] Result<Page<Experiment>> search_experiments(sql::Tx& tx, const Search& search);
  [[nodiscard]] Result<void> rename_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id,
                                               std::string_view name);
  // Its runs and logged models count as deleted, and cannot be written to, until it is restored. Deleting twice is
  // kNotFound.
  [[nodiscard]] Result<void> delete_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id);
  [[nodiscard]] Result<void> restore_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id);
  // No value deletes; deleting what is not there is kNotFound.
  [[nodiscard]] Result<void> tag_experiment(sql::Tx& tx, ExperimentId id, std::string_view key,
                                            std::optional<std::string_view> value);

  // --- runs ---

  // kAlreadyExists when a given id is taken.
  [[nodiscard]] Result<Run> start(sql::Tx& tx, const NewRun& run);
  [[nodiscard]] Result<Run> run(sql::Tx& tx, const RunId& id);
  [[nodiscard]] Result<RunInfo> info(sql::Tx& tx, const RunId& id);
  // A change to a final status emits runs.ended.
  [[nodiscard]] Result<RunInfo> change(sql::Tx& tx, const access::Actor& actor, const RunId& id,
                                       const RunChange& change);
  // Deleting or restoring twice is no error. Events runs.deleted, runs.restored.
  [[nodiscard]] Result<void> delete_run(sql::Tx& tx, const access::Actor& actor, const RunId& id);
  [[nodiscard]] Result<void> restore_run(sql::Tx& tx, const access::Actor& actor, const RunId& id);

  // Keeps the batch, or nothing of it. The same point twice is kept once. A parameter may be logged again with the same
  // value only; twice in one batch not at all. A later value of a tag replaces the earlier. Metrics may be logged after
  // the end of the run.
  [[nodiscard]] Result<void> log(sql::Tx& tx, const RunId& id, const Batch& batch);
  // The same without waiting: `done` is called on the writer's thread once the batch is on disk, or refused.
  void log_async(RunId id, Batch batch, std::function<void(Result<void>)> done);
  // kNotFound when there is no such tag.
  [[nodiscard]] Result<void> delete_tag(sql::Tx& tx, const RunId& id, std::string_view key);
  [[nodiscard]] Result<void> add_inputs(sql::Tx& tx, const RunId& id, const std::vector<DatasetInput>& inputs,
                                        const std::vector<ModelUse>& models);
  [[nodiscard]] Result<void> add_outputs(sql::Tx& tx, const RunId& id, const std::vector<ModelUse>& models);

  // Fields: the attributes run_id, run_name, user_id, status (such as 'FINISHED'), start_time, end_time, artifact_uri;
  // metrics, params, tags by key; datasets.name, .digest, .context. Newest first by default; runs without the field
  // that is ordered by come last in either direction, NaN before them.
  [[nodiscard]] Result<Page<Run>> search(sql::Tx& tx, const Search& search);

  // The points of a curve by (step, at_ms, value), from `offset`.
  [[nodiscard]] Result<Page<Point>> history(sql::Tx& tx, const RunId& id, std::string_view key, std::int64_t limit,
                                            std::int64_t offset);
  // Runs that do not exist are left out.
  [[nodiscard]] Result<std::vector<RunPoint>> curves(sql::Tx& tx, const CurveQuery& query);
  [[nodiscard]] Result<std::vector<DatasetSummary>> datasets(sql::Tx& tx, const std::vector<ExperimentId>& experiments);

  // --- logged models ---

  // kAlreadyExists when a given id is taken.
  [[nodiscard]] Result<LoggedModel> add_model(sql::Tx& tx, const access::Actor& actor, const NewLoggedModel& model);
  [[nodiscard]] Result<LoggedModel> model(sql::Tx& tx, const LoggedModelId& id);
  // Event logged_models.finished.
  [[nodiscard]] Result<LoggedModel> finish_model(sql::Tx& tx, const access::Actor& actor, const LoggedModelId& id,
                                                 LoggedModelStatus status);
  [[nodiscard]] Result<void> delete_model(sql::Tx& tx, const access::Actor& actor, const LoggedModelId& id);
  // Parameters are fixed once logged: another value later is kInvalidArgument.
  [[nodiscard]] Result<void> add_model_params(sql::Tx& tx, const LoggedModelId& id,
                                              const std::vector<KeyValue>& params);
  [[nodiscard]] Result<LoggedModel> tag_model(sql::Tx& tx, const LoggedModelId& id, const std::vector<KeyValue>& tags);
  [[nodiscard]] Result<void> untag_model(sql::Tx& tx, const LoggedModelId& id, std::string_view key);
  // Fields: name, model_id, model_type, status, source_run_id, creation_timestamp, last_updated_timestamp; metrics,
  // params, tags. `datasets` (name, digest or "") restricts which metrics are looked at.
  [[nodiscard]] Result<Page<LoggedModel>> search_models(
      sql::Tx& tx, const Search& search, const std::vector<std::pair<std::string, std::string>>& datasets = {});

  // --- artefacts: files by path from the root of our own store ---

  // Paths as path_beneath takes them: relative, without "." and ".." and empty components. The file is on disk, and its
  // row committed, when these return. A path that names a folder already, or leads through a file, is kInvalidArgument.
  [[nodiscard]] Result<Artefact> put_artefact(const access::Actor& actor, std::string_view path,
                                              const std::filesystem::path& file);
  [[nodiscard]] Result<Artefact> artefact(sql::Tx& tx, std::string_view path);
  // The entries of a folder by name; empty when there is no such folder, and for a file.
  [[nodiscard]] Result<std::vector<Entry>> entries(sql::Tx& tx, std::string_view folder);
  // Every file beneath a folder, by path.
  [[nodiscard]] Result<std::vector<Artefact>> artefacts(sql::Tx& tx, std::string_view folder);
  // Removes a file, or a folder with all beneath it; the content stays in the blob store. kNotFound when there is
  // neither.
  [[nodiscard]] Result<void> delete_artefacts(const access::Actor& actor, std::string_view path);

  [[nodiscard]] sql::Database& database() const { return database_; }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  [[nodiscard]] blobs::Store& blobs() const { return blobs_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  Runs(sql::Database& database, events::Events& events, blobs::Store& blobs, const Clock& clock, Limits limits)
      : database_(database), events_(events), blobs_(blobs), clock_(clock), limits_(limits) {}

  struct Target {  // a run that may be written to
    std::int64_t n = 0;
    std::int64_t experiment = 0;
  };
  [[nodiscard]] Result<Target> writable(sql::Tx& tx, const RunId& id);
  [[nodiscard]] Result<std::int64_t> key_id(sql::Tx& tx, std::string_view key);
  [[nodiscard]] Result<void> check_batch(const Batch& batch) const;
  [[nodiscard]] Result<void> log_metrics(sql::Tx& tx, const RunId& id, const Target& run,
                                         const std::vector<Metric>& metrics);
  [[nodiscard]] Result<void> log_params(sql::Tx& tx, const RunId& id, const Target& run,
                                        const std::vector<KeyValue>& params);
  [[nodiscard]] Result<void> log_tags(sql::Tx& tx, const Target& run, const std::vector<KeyValue>& tags);
  [[nodiscard]] Result<void> emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                                  json::Object payload);
  [[nodiscard]] Result<void> emit_ended(sql::Tx& tx, const access::Actor& actor, const RunInfo& run);
  [[nodiscard]] Result<void> fill(sql::Tx& tx, std::int64_t n, Run& run);
  [[nodiscard]] Result<LoggedModel> filled(sql::Tx& tx, std::int64_t n, LoggedModel model);

  sql::Database& database_;
  events::Events& events_;
  blobs::Store& blobs_;
  const Clock& clock_;
  const Limits limits_;

  std::mutex mutex_;
  std::unordered_map<std::string, std::int64_t> key_ids_;  // of committed rows of run_keys; guarded by mutex_
};

}  // namespace tidemill::runs
