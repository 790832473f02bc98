// The room of predictions: the data plane. See README.md.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "base/result.h"
#include "flow/deployments/deployments.h"
#include "flow/models/models.h"
#include "flow/predictions/journal.h"
#include "flow/predictions/lanes.h"
#include "flow/predictions/ledger.h"
#include "flow/predictions/segments.h"
#include "flow/predictions/types.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"

namespace tidemill::predictions {

struct Options {
  using json_defaults = void;
  std::int64_t workers = 2;                   // models running at the same time
  std::int64_t batch_rows_max = 1024;         // rows gathered into one run
  std::int64_t request_rows_max = 65'536;     // of one request
  std::int64_t waiting_rows_max = 262'144;    // per deployment; past it 429
  std::int64_t id_bytes_max = 256;            // of a prediction's id
  std::int64_t labels_max = 100'000;          // in one request
  std::int64_t inline_us_max = 300;           // shorter runs happen on the I/O thread itself
  std::int64_t future_ms_max = 86'400'000;    // how far in the future a request's time may lie
  std::int64_t journal_bytes_max = 32 << 20;  // of one journal file; then it becomes a Parquet segment
};
BOOST_DESCRIBE_STRUCT(Options, (),
                      (workers, batch_rows_max, request_rows_max, waiting_rows_max, id_bytes_max, labels_max,
                       inline_us_max, future_ms_max, journal_bytes_max))

struct Parts {
  sql::Database& database;
  tables::Tables& tables;
  models::Models& models;
  deployments::Deployments& deployments;
  const Clock& clock;
  std::filesystem::path folder;
  // Looks up the columns that a feature view provides: request rows in, the same rows with further columns out. Empty:
  // no deployment may name a view.
  std::function<Result<tables::Frame>(const std::string& view, const tables::Frame& rows,
                                      const std::vector<std::int64_t>& at_ms)>
      look_up;
};

struct VersionMetrics {
  VersionMetrics(const std::string& deployment, std::int64_t version);
  metrics::Counter requests;
  metrics::Counter rows;
  metrics::Histogram seconds;
};

// What a deployment needs to answer, loaded. Immutable.
struct Loaded {
  explicit Loaded(deployments::Deployment loaded);
  deployments::Deployment deployment;
  std::map<std::int64_t, std::shared_ptr<const models::Scorer>> scorers;  // by version
  std::map<std::int64_t, VersionMetrics> metrics;                         // by version
  metrics::Counter failures;
  metrics::Counter log_drops;
};

// All functions may be called from any thread.
class Predictions {
 public:
  // Replays the log and loads what is deployed.
  [[nodiscard]] static Result<std::unique_ptr<Predictions>> create(Parts parts, Options options = {});
  // Finishes what runs, writes what is pending.
  ~Predictions();

  // Answers a request. `done` is called once, on another thread or at once: with kNotFound for an unknown deployment or
  // version, kInvalidArgument for rows that do not fit, kUnavailable while a version is still loading, kExhausted when
  // too much waits. An answer of a durable deployment is given after its log record is on disk. A repeated id is
  // answered anew and logged once.
  void infer(Ask ask, AnswerDone done);

  // Keeps labels; returns how many, when they are on disk. The last one of an id wins; they may come before the
  // prediction. kInvalidArgument names the first bad one; then none is kept. `until_ms`, unless 0, says that every
  // label known before it has been sent: event time has come so far, and windows of monitors may close by it.
  [[nodiscard]] Result<std::int64_t> label(const access::Actor& actor, const std::string& deployment,
                                           std::vector<Label> labels, std::int64_t until_ms = 0);

  // Returns the logged rows of the filter, in order of logging: the columns of Segments, then `label` (integer, missing
  // where unknown). Rows of versions with other features are together; what one lacks is missing.
  [[nodiscard]] Result<tables::Frame> joined(const std::string& deployment, const Filter& filter);
  // Returns one served prediction; kNotFound.
  [[nodiscard]] Result<Prediction> find(const std::string& deployment, const std::string& id);
  [[nodiscard]] Stats stats(const std::string& deployment) const { return ledger_.stats(deployment); }
  // The same; kNotFound for a deployment that never was.
  [[nodiscard]] Result<Stats> checked_stats(const std::string& deployment);
  // Returns those of every deployment, by name.
  [[nodiscard]] std::vector<Stats> all_stats() const;

  // Returns what the deployment runs now; kNotFound for an unknown or stopped one, kUnavailable or the cause while it
  // cannot be loaded.
  [[nodiscard]] Result<std::shared_ptr<const Loaded>> serving(std::string_view deployment) const;
  // Returns what the deployment runs now, stopped ones too; null for an unknown one.
  [[nodiscard]] std::shared_ptr<const Loaded> loaded(std::string_view deployment) const;
  // Waits until the deployment answers with this revision or a later one; kUnavailable after `wait_ms`, with why.
  [[nodiscard]] Result<void> wait_loaded(const std::string& deployment, std::int64_t revision, std::int64_t wait_ms);

  // Turns everything logged so far into Parquet segments.
  [[nodiscard]] Result<void> flush();
  // Returns false after the log failed to write.
  [[nodiscard]] bool healthy() const { return journal_->healthy(); }

 private:
  using LoadedMap = std::map<std::string, std::shared_ptr<const Loaded>, std::less<>>;

  Predictions(Parts parts, Options options) : parts_(std::move(parts)), options_(options) {}
  [[nodiscard]] Result<void> check_ask(const Ask& ask, std::size_t rows) const;
  void apply(std::uint64_t file, std::string_view payload);
  void reload();
  void seal_loop();
  void load_loop();
  void load_all();
  void run(const std::string& deployment, std::vector<Work> works);
  void log_and_answer(const std::shared_ptr<const Loaded>& loaded, Work work, Answer answer,
                      std::vector<Record> records);
  [[nodiscard]] Result<std::shared_ptr<const Loaded>> load(const deployments::Deployment& deployment);

  // What the callback of Deployments holds: it may outlive this.
  struct Alarm {
    std::mutex mutex;
    Predictions* room = nullptr;  // guarded by mutex
  };

  const Parts parts_;
  const Options options_;
  std::shared_ptr<Alarm> alarm_;
  std::unique_ptr<Segments> segments_;
  Ledger ledger_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  LoadedMap loaded_;                          // guarded by mutex_
  std::map<std::string, Error> load_errors_;  // guarded by mutex_
  bool reload_ = true;                        // guarded by mutex_
  std::vector<std::uint64_t> to_seal_;        // guarded by mutex_
  std::optional<Error> seal_error_;           // of the last attempt; guarded by mutex_
  bool closing_ = false;                      // guarded by mutex_

  std::unique_ptr<Journal> journal_;
  std::unique_ptr<Lanes> lanes_;
  std::thread sealer_;
  std::thread loader_;
};

}  // namespace tidemill::predictions
