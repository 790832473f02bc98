// The durable queue: a job that was enqueued in a committed transaction is run, however often the server dies on the
// way.
//
//   jobs.handle("pipelines.run", [&](jobs::Context& context) { … context.check(tx) in every write … });
//   db.write([&](sql::Tx& tx) { …; return jobs.enqueue(tx, {.kind = "pipelines.run", .key = run.str(), …}); });
//
// Who takes a job gets a lease and the next number of its fence. A holder that was given up for dead but lives on (a
// paused process) fails its next write, since Context::check compares the fence in that very transaction. A handler may
// be run more than once for one job, never twice at a time with effect: what it wrote decides where the next one
// begins.
#pragma once

#include <atomic>
#include <boost/describe.hpp>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "events/events.h"
#include "jobs/schedule.h"
#include "jobs/types.h"
#include "storage/sql/database.h"

namespace tidemill::jobs {

struct JobsOptions {
  using json_defaults = void;
  int workers = 12;                     // handlers at work at the same time
  std::int64_t lease_ms = 30'000;       // renewed at a third of it
  std::int64_t queued_max = 10'000;     // past it enqueue answers kExhausted
  std::int64_t retry_delay_ms = 1'000;  // before the second attempt; doubles with each further one
  std::int64_t retry_delay_max_ms = 300'000;
  std::int64_t keep_finished_ms = 7 * 86'400'000LL;  // then the row is deleted; what matters of it is an event
};
BOOST_DESCRIBE_STRUCT(JobsOptions, (),
                      (workers, lease_ms, queued_max, retry_delay_ms, retry_delay_max_ms, keep_finished_ms))

class Jobs;

// What a handler sees of its job. Belongs to the worker's thread, but for the functions marked "any thread".
class Context {
 public:
  [[nodiscard]] const Job& job() const { return job_; }

  // True once somebody asked to cancel the job, or it was taken over. Any thread.
  [[nodiscard]] bool cancelled() const { return cancelled_.load(); }
  // True once the server stops: return interrupted() soon. Any thread.
  [[nodiscard]] bool stopping() const { return stopping_.load(); }

  // Fails with kConflict, reason "jobs.fenced", when this handler no longer holds the job. Call it in every write. Any
  // thread.
  [[nodiscard]] Result<void> check(sql::Tx& tx) const;

  // Extends the lease now; the keeper does so by itself while the server lives. kConflict as in check.
  [[nodiscard]] Result<void> heartbeat();

  // Sets what is called, on another thread, when cancelled() or stopping() becomes true; at once if one of them is. It
  // may only wake something.
  void on_interrupt(std::function<void()> callback);

  // The error that a handler returns when it gives up because the server stops: the job goes back to the queue as it
  // was.
  [[nodiscard]] static Error interrupted();

 private:
  friend class Jobs;
  Context(Jobs& jobs, Job job) : jobs_(jobs), job_(std::move(job)) {}
  void interrupt();

  Jobs& jobs_;
  const Job job_;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> stopping_ = false;

  std::mutex mutex_;
  std::function<void()> callback_;  // guarded by mutex_
};

// Returns the job's result. An error is a failure: the job is tried again after a while, until attempts_max.
using Handler = std::function<Result<json::Object>(Context&)>;

// All functions may be called from any thread, unless said otherwise.
class Jobs {
 public:
  // Makes its tables, and takes back what another process, or an earlier life of this one, held: the database belongs
  // to one process at a time.
  [[nodiscard]] static Result<std::unique_ptr<Jobs>> create(sql::Database& database, events::Events& events,
                                                            const Clock& clock, JobsOptions options = {});
  ~Jobs();  // stop()
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  // Before start(): who does the jobs of `kind`, at most `parallel_max` of them at a time (0 = as many as there are
  // workers). Kinds whose jobs take hours should leave some workers to the others.
  void handle(std::string kind, Handler handler, int parallel_max = 0);

  // Before start(): enqueues `job` whenever `schedule` is due. The due time is kept on disk: after a longer stop it
  // fires once, not once for each time missed, and never twice for the same moment. A `key` in the job keeps a slow one
  // from piling up.
  [[nodiscard]] Result<void> repeat(std::string name, const Schedule& schedule, NewJob job);

  // Adds a job in the caller's transaction. kAlreadyExists, reason "jobs.key_taken", while one with this kind and key
  // lives; kExhausted at queued_max.
  [[nodiscard]] Result<JobId> enqueue(sql::Tx& tx, NewJob job);

  // Asks to cancel: a queued job ends at once, a running one when its handler heeds it. Ended ones are left alone.
  // kNotFound.
  [[nodiscard]] Result<void> cancel(sql::Tx& tx, const JobId& id);

  // Fails with kConflict, reason "jobs.fenced", unless the job is running under this fence.
  [[nodiscard]] Result<void> check_fence(sql::Tx& tx, const JobId& id, std::int64_t fence) const;

  [[nodiscard]] Result<Job> get(const JobId& id);
  [[nodiscard]] Result<bool> is_running(sql::Tx& tx, const JobId& id);

  // Starts the workers. Call once.
  void start();

  // Interrupts the handlers, waits for them, puts their jobs back into the queue. Idempotent.
  void stop();

  // How many jobs are queued or running: 0 = idle.
  [[nodiscard]] Result<std::int64_t> live();

 private:
  friend class Context;
  struct Kind {
    Handler handler;
    int parallel_max = 0;
  };
  struct Repeat {
    std::string name;
    Schedule schedule;
    NewJob job;
    std::int64_t next_ms;
  };

  Jobs(sql::Database& database, events::Events& events, const Clock& clock, JobsOptions options);
  void worker_loop();
  void keeper_loop();
  [[nodiscard]] Result<std::optional<Job>> take();
  void put_down(const std::string& kind);
  void run(Job job);
  [[nodiscard]] Result<void> settle(const Context& context, const Result<json::Object>& outcome);
  [[nodiscard]] Result<void> fail_or_retry(sql::Tx& tx, const Job& job, const Error& error);
  void fire_due();
  void tidy();
  void wake();
  void interrupt(const JobId& id);

  sql::Database& database_;
  events::Events& events_;
  const Clock& clock_;
  const JobsOptions options_;
  const std::string boot_;             // names this life of the process as owner of leases
  std::map<std::string, Kind> kinds_;  // constant once started
  std::vector<Repeat> repeats_;        // of the keeper's thread once started

  mutable std::mutex mutex_;
  std::condition_variable woken_;
  std::int64_t wakes_ = 0;                   // guarded by mutex_
  bool stopping_ = false;                    // guarded by mutex_
  std::map<std::string, Context*> running_;  // guarded by mutex_; by job id

  std::mutex take_mutex_;               // one worker takes at a time
  std::map<std::string, int> at_work_;  // guarded by take_mutex_; how many of each kind

  std::vector<std::thread> threads_;  // last: they use all of the above
};

}  // namespace tidemill::jobs
