// The room of pipelines: versions of what to do, and runs of them that go on where they stood after any crash. See
// README.md.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "access/access.h"
#include "base/clock.h"
#include "events/events.h"
#include "flow/pipelines/types.h"
#include "jobs/executor.h"
#include "jobs/jobs.h"
#include "storage/blobs/store.h"
#include "storage/sql/database.h"

namespace tidemill::pipelines {

constexpr std::int64_t kRunsMax = 500;           // in one list
constexpr std::int64_t kLogBytesMax = 32 << 20;  // in one answer

struct Options {
  std::filesystem::path folder;      // for work folders and logs; made when missing
  std::string python = "python3";    // what `python` as a program stands for
  std::string environment;           // what packages steps find, such as a lock file's hash; in every cache key
  std::function<std::string()> url;  // where this server answers, for steps that call it; empty = they are not told
  std::map<std::string, std::string> env;  // added to the environment of every process
  Limits limits{};
  jobs::Sandbox sandbox{};  // for every program
  jobs::ExecutorOptions executor{};
};

class Engine;

// All functions may be called from any thread, unless said otherwise.
class Pipelines {
 public:
  // Makes its tables and folders, and registers itself with `jobs`, which must not run yet.
  [[nodiscard]] static Result<std::unique_ptr<Pipelines>> create(sql::Database& database, events::Events& events,
                                                                 access::Access& access, jobs::Jobs& jobs,
                                                                 blobs::Store& blobs, const Clock& clock,
                                                                 Options options);
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;
  Pipelines& operator=(const Pipelines&) = delete;

  // Before jobs.start(): offers `function` to steps as `uses: name`.
  void add_builtin(std::string name, Builtin function);
  [[nodiscard]] std::vector<std::string> builtins() const;

  // Checks and adds a version; the same content as an earlier version returns that one. Event pipelines.version_added.
  [[nodiscard]] Result<Version> add(const access::Actor& actor, const NewVersion& version);
  [[nodiscard]] Result<std::vector<Pipeline>> list();
  // The newest version, or a given one. kNotFound.
  [[nodiscard]] Result<Version> version(std::string_view pipeline, std::optional<std::int64_t> number = std::nullopt);

  // Starts a run; it is durable when this returns. kNotFound for an unknown pipeline or version, kInvalidArgument for
  // bad params. Event pipelines.run_queued.
  [[nodiscard]] Result<Run> start(const access::Actor& actor, std::string_view pipeline, const NewRun& run);
  // The same in the caller's transaction: what triggers use.
  [[nodiscard]] Result<Run> start(sql::Tx& tx, const access::Actor& actor, std::string_view pipeline,
                                  const NewRun& run);

  // With its steps. kNotFound.
  [[nodiscard]] Result<Run> run(const PipelineRunId& id);
  // Newest first, without steps.
  [[nodiscard]] Result<std::vector<Run>> runs(const RunFilter& filter);
  // How many are queued or running.
  [[nodiscard]] Result<std::int64_t> live_runs();

  // Asks the run to end. Its processes get SIGTERM, then SIGKILL; what has succeeded stays. kFailedPrecondition when it
  // has ended already.
  [[nodiscard]] Result<Run> cancel(const access::Actor& actor, const PipelineRunId& id);

  struct LogPart {
    std::string text;  // up to kLogBytesMax bytes from the offset asked for
    std::int64_t next_offset = 0;
    std::int64_t attempt = 0;
    bool ended = false;  // nothing will be added
  };
  // What an attempt (0 = the newest) of a step has written so far. kNotFound when it never started.
  [[nodiscard]] Result<LogPart> log(const PipelineRunId& id, std::string_view step, std::int64_t attempt,
                                    std::int64_t offset);

  // Returns the blob of a kept output. kNotFound.
  [[nodiscard]] Result<Output> output(const PipelineRunId& id, std::string_view step, std::string_view name);

 private:
  explicit Pipelines(std::unique_ptr<Engine> engine);
  [[nodiscard]] Result<void> end_cancelled(sql::Tx& tx, Run& run, const access::Actor& actor);

  const std::unique_ptr<Engine> engine_;
};

}  // namespace tidemill::pipelines
