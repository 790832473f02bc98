// Leads one run from where it stands to its end. Private to the room.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "flow/pipelines/attempt.h"
#include "flow/pipelines/engine.h"

namespace tidemill::pipelines {

// Lives on the worker thread of the run's job; every attempt has a thread of its own, which only posts its outcome.
//
// A turn: take the outcomes that have come, decide what follows from them, write both in one transaction, then start
// what was written as started. So a step's end and the start of the next cost one commit, and nothing runs that is not
// on disk as running.
class Coordinator {
 public:
  Coordinator(Engine& engine, jobs::Context& context, Run run, Plan plan, std::shared_ptr<const CodeFiles> code);
  ~Coordinator();  // kills and joins what still runs
  Coordinator(const Coordinator&) = delete;
  Coordinator& operator=(const Coordinator&) = delete;

  // Returns {"state": …} when the run has ended; Context::interrupted() when the server stops, and other errors when
  // the database refuses: the run then stands as it was written last, and goes on when the job is taken again.
  [[nodiscard]] Result<json::Object> lead();

 private:
  struct Live {
    std::unique_ptr<Attempt> attempt;
    std::thread thread;
  };

  // Before the first turn: makes sure that nothing of an earlier life is still running.
  [[nodiscard]] Result<void> settle_earlier_life();
  void take_outcomes();
  void apply(std::size_t step, Outcome outcome);
  void decide();
  [[nodiscard]] bool decide_step(std::size_t step);
  void start_or_reuse(std::size_t step);
  [[nodiscard]] Result<Task> make_task(std::size_t step) const;
  [[nodiscard]] Result<bool> wanted(std::size_t step) const;
  [[nodiscard]] Result<json::Value> look_up(std::string_view path) const;
  [[nodiscard]] std::string cache_key(const Task& task) const;
  [[nodiscard]] std::optional<store::Cached> find_cached(std::string_view key);
  void finish_step(std::size_t step, StepState state, std::string message);
  void cancel_all();
  void finish_run();
  [[nodiscard]] Result<void> write();
  [[nodiscard]] Result<void> write_step(sql::Tx& tx, std::size_t step);
  void launch();
  void wait();
  void wake();
  [[nodiscard]] bool all_ended() const;

  Engine& engine_;
  jobs::Context& context_;
  const Plan plan_;
  const std::shared_ptr<const CodeFiles> code_;
  const std::string token_;  // lent to the steps of this run

  // Of the leading thread.
  Run run_;
  std::set<std::size_t> changed_;         // steps to be written
  std::map<std::size_t, Task> starting_;  // to be launched once written; each holds a slot
  std::map<std::size_t, Live> live_;
  std::map<std::size_t, std::int64_t> retry_ms_;   // steady time before which a step must not be tried again
  std::map<std::size_t, std::string> cache_keys_;  // of steps whose outcome is to be kept
  bool run_changed_ = false;
  bool announced_ = false;  // that the run has started
  bool cancelling_ = false;

  std::mutex mutex_;
  std::condition_variable woken_;
  std::vector<std::pair<std::size_t, Outcome>> outcomes_;  // guarded by mutex_
  bool awake_ = false;                                     // guarded by mutex_
};

}  // namespace tidemill::pipelines
