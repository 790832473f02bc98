// What the parts of this room share. Private to it.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "flow/pipelines/definition.h"
#include "flow/pipelines/pipelines.h"
#include "flow/pipelines/store.h"

namespace tidemill::pipelines {

// How many steps may be at work at once, over all runs. Any thread.
class Slots {
 public:
  explicit Slots(int count) : free_(count) {}

  [[nodiscard]] bool try_take() {
    const std::lock_guard lock(mutex_);
    if (free_ == 0) return false;
    --free_;
    return true;
  }

  void give_back() {
    const std::lock_guard lock(mutex_);
    ++free_;
    for (const auto& [owner, wake] : waiters_) wake();
  }

  // `wake` is called, with a lock held, whenever a slot becomes free: it may only wake something up.
  void watch(const void* owner, std::function<void()> wake) {
    const std::lock_guard lock(mutex_);
    waiters_[owner] = std::move(wake);
  }
  void unwatch(const void* owner) {
    const std::lock_guard lock(mutex_);
    waiters_.erase(owner);
  }

 private:
  std::mutex mutex_;
  int free_;                                              // guarded by mutex_
  std::map<const void*, std::function<void()>> waiters_;  // guarded by mutex_
};

using CodeFiles = std::map<std::string, std::string>;  // path → text

// Constant once the server runs, but for what locks itself.
class Engine {
 public:
  Engine(sql::Database& database_in, events::Events& events_in, access::Access& access_in, jobs::Jobs& jobs_in,
         blobs::Store& blobs_in, const Clock& clock_in, Options options_in);

  // Every step of a run has its folders here: work/<run>/<step>.<attempt> and logs/<run>/<step>.<attempt>.log.
  [[nodiscard]] std::filesystem::path work_folder(const PipelineRunId& run) const {
    return options.folder / "work" / run.str();
  }
  [[nodiscard]] std::filesystem::path log_folder(const PipelineRunId& run) const {
    return options.folder / "logs" / run.str();
  }
  [[nodiscard]] std::filesystem::path log_file(const PipelineRunId& run, std::string_view step,
                                               std::int64_t attempt) const;
  // Held by the processes of an attempt until the last is dead.
  [[nodiscard]] std::filesystem::path lock_file(const PipelineRunId& run, std::string_view step) const;
  // Found in the environment of all processes of a step.
  [[nodiscard]] static std::string mark(const PipelineRunId& run, std::string_view step) {
    return run.str() + "." + std::string(step);
  }

  [[nodiscard]] std::set<std::string> builtin_names() const;
  // Reads a version's definition as it was when it was added: built-ins that are gone since make it fail only where
  // they are used.
  [[nodiscard]] Result<Plan> plan_of(const store::VersionRow& version) const;
  [[nodiscard]] Result<std::shared_ptr<const CodeFiles>> code_of(const store::VersionRow& version) const;

  sql::Database& database;
  events::Events& events;
  access::Access& access;
  jobs::Jobs& jobs;
  blobs::Store& blobs;
  const Clock& clock;
  const Options options;
  const jobs::Executor executor;
  std::map<std::string, Builtin> builtins;
  Slots slots;
};

// Makes "<noun> 'x' is unknown" errors in one style.
[[nodiscard]] std::unexpected<Error> unknown_run(const PipelineRunId& id);

}  // namespace tidemill::pipelines
