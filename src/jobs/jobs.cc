#include "jobs/jobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "jobs/events.h"
#include "jobs/schema.sql.h"
#include "jobs/store.h"

namespace tidemill::jobs {
namespace {

constexpr std::int64_t kLookMs = 500;  // how long a worker sleeps at most, for jobs whose time comes
constexpr std::int64_t kTidyEveryMs = 600'000;
constexpr std::int64_t kAfterErrorMs = 1'000;  // before the next look when the database answers with an error
constexpr const char* kInterrupted = "jobs.interrupted";

}  // namespace

Result<void> Context::check(sql::Tx& tx) const { return jobs_.check_fence(tx, job_.id, job_.fence); }

Result<void> Context::heartbeat() {
  return jobs_.database_.write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(check(tx));
    return store::renew(tx, jobs_.boot_, jobs_.clock_.now_ms() + jobs_.options_.lease_ms);
  });
}

void Context::on_interrupt(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  callback_ = std::move(callback);
  if (callback_ && (cancelled() || stopping())) callback_();
}

void Context::interrupt() {
  const std::lock_guard lock(mutex_);
  if (callback_) callback_();
}

Error Context::interrupted() {
  return {Code::kUnavailable, kInterrupted, "The server is stopping.", "It goes on after the next start."};
}

Jobs::Jobs(sql::Database& database, events::Events& events, const Clock& clock, JobsOptions options)
    : database_(database), events_(events), clock_(clock), options_(options), boot_(generate_hex_id()) {}

Jobs::~Jobs() { stop(); }

Result<std::unique_ptr<Jobs>> Jobs::create(sql::Database& database, events::Events& events, const Clock& clock,
                                           JobsOptions options) {
  TM_CHECK(database.migrate("jobs", kSchemaSql));
  std::unique_ptr<Jobs> jobs(new Jobs(database, events, clock, options));
  const std::int64_t back =
      TM_TRY(database.write([&](sql::Tx& tx) { return store::take_back_others(tx, jobs->boot_); }));
  if (back > 0) log::info("jobs", "took back what was running when the server ended", {{"jobs", std::to_string(back)}});
  return jobs;
}

void Jobs::handle(std::string kind, Handler handler, int parallel_max) {
  kinds_[std::move(kind)] = {std::move(handler), parallel_max};
}

Result<void> Jobs::repeat(std::string name, const Schedule& schedule, NewJob job) {
  const std::int64_t now_ms = clock_.now_ms();
  const std::int64_t next_ms = TM_TRY(database_.write([&](sql::Tx& tx) -> Result<std::int64_t> {
    const auto known = TM_TRY(store::find_schedule(tx, name));
    if (known && known->rule == schedule.text()) return known->next_ms;
    const store::Due due{schedule.text(), schedule.next_ms(now_ms)};
    TM_CHECK(store::put_schedule(tx, name, due, std::nullopt));
    return due.next_ms;
  }));
  repeats_.push_back({std::move(name), schedule, std::move(job), next_ms});
  return {};
}

Result<JobId> Jobs::enqueue(sql::Tx& tx, NewJob job) {
  if (TM_TRY(store::count_queued(tx)) >= options_.queued_max) {
    return fail(Code::kExhausted, "jobs.queue_full", fmt::format("{} jobs are waiting already.", options_.queued_max),
                "Try again when some are done, or raise jobs.queued_max.");
  }
  Job row;
  row.id = JobId::generate();
  row.created_ms = clock_.now_ms();
  row.kind = std::move(job.kind);
  row.key = std::move(job.key);
  row.payload = std::move(job.payload);
  row.attempts_max = job.attempts_max;
  row.not_before_ms = std::max(job.not_before_ms, row.created_ms);
  if (auto inserted = store::insert(tx, row); !inserted) {
    if (inserted.error().code != Code::kAlreadyExists) return std::unexpected(inserted.error());
    return fail(Code::kAlreadyExists, "jobs.key_taken",
                fmt::format("A job of kind {} with key '{}' is queued or running.", row.kind, row.key),
                "Wait until it has ended.");
  }
  tx.after_commit([this] { wake(); });
  return row.id;
}

Result<void> Jobs::cancel(sql::Tx& tx, const JobId& id) {
  const auto job = TM_TRY(store::find(tx, id));
  if (!job)
    return fail(Code::kNotFound, "jobs.unknown", "There is no job '" + id.str() + "'.", "See the list of jobs.");
  TM_CHECK(store::ask_cancel(tx, id));
  if (job->state == JobState::queued) {
    return store::settle(tx, id, {JobState::cancelled, job->failures, job->not_before_ms, clock_.now_ms(), "", {}});
  }
  tx.after_commit([this, id] { interrupt(id); });
  return {};
}

Result<void> Jobs::check_fence(sql::Tx& tx, const JobId& id, std::int64_t fence) const {
  if (TM_TRY(store::is_held(tx, id, fence))) return {};
  return fail(Code::kConflict, "jobs.fenced", fmt::format("Job {} is no longer held under fence {}.", id.str(), fence),
              "Stop: another holder has taken it over.");
}

Result<Job> Jobs::get(const JobId& id) {
  auto job = TM_TRY(database_.read([&](sql::Tx& tx) { return store::find(tx, id); }));
  if (!job)
    return fail(Code::kNotFound, "jobs.unknown", "There is no job '" + id.str() + "'.", "See the list of jobs.");
  return *std::move(job);
}

Result<bool> Jobs::is_running(sql::Tx& tx, const JobId& id) {
  const auto job = TM_TRY(store::find(tx, id));
  return job && job->state == JobState::running;
}

Result<std::int64_t> Jobs::live() {
  return database_.read([](sql::Tx& tx) { return store::count_live(tx); });
}

void Jobs::start() {
  for (int i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { worker_loop(); });
  threads_.emplace_back([this] { keeper_loop(); });
}

void Jobs::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    // The contexts stay alive while they stand in running_, which a worker leaves under this mutex only.
    for (const auto& [id, context] : running_) {
      context->stopping_ = true;
      context->interrupt();
    }
  }
  woken_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Jobs::wake() {
  {
    const std::lock_guard lock(mutex_);
    ++wakes_;
  }
  woken_.notify_all();
}

void Jobs::interrupt(const JobId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = running_.find(id.str());
  if (found == running_.end()) return;
  found->second->cancelled_ = true;
  found->second->interrupt();
}

Result<std::optional<Job>> Jobs::take() {
  const std::lock_guard lock(take_mutex_);
  json::Array full;
  for (const auto& [name, kind] : kinds_) {
    if (kind.parallel_max > 0 && at_work_[name] >= kind.parallel_max) full.emplace_back(name);
  }
  const std::int64_t now_ms = clock_.now_ms();
  auto job =
      database_.write([&](sql::Tx& tx) { return store::take(tx, boot_, now_ms, now_ms + options_.lease_ms, full); });
  if (job && *job) ++at_work_[(*job)->kind];
  return job;
}

void Jobs::put_down(const std::string& kind) {
  {
    const std::lock_guard lock(take_mutex_);
    --at_work_[kind];
  }
  if (const auto found = kinds_.find(kind); found != kinds_.end() && found->second.parallel_max > 0)
    wake();  // another may go on now
}

void Jobs::worker_loop() {
  while (true) {
    std::int64_t seen = 0;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      seen = wakes_;
    }
    auto job = take();
    if (job && *job) {
      const std::string kind = (*job)->kind;
      run(**std::move(job));
      put_down(kind);
      continue;
    }
    std::int64_t sleep_ms = kLookMs;
    if (!job) {
      log::warn("jobs", "could not look for work", {{"cause", job.error().text()}});
      sleep_ms = kAfterErrorMs;
    }
    std::unique_lock lock(mutex_);
    woken_.wait_for(lock, std::chrono::milliseconds(sleep_ms), [&] { return stopping_ || wakes_ != seen; });
  }
}

void Jobs::run(Job job) {
  Context context(*this, std::move(job));
  {
    const std::lock_guard lock(mutex_);
    running_[context.job_.id.str()] = &context;
    if (stopping_) context.stopping_ = true;
  }
  // Asked after it stands in running_, so that a cancel is seen either here or through interrupt().
  const auto asked = database_.read([&](sql::Tx& tx) { return store::cancel_asked(tx, context.job_.id); });
  if (asked && *asked) context.cancelled_ = true;
  Result<json::Object> outcome =
      fail(Code::kUnimplemented, "jobs.no_handler", "Nothing here does jobs of kind '" + context.job_.kind + "'.",
           "Start a server that does.");
  if (const auto kind = kinds_.find(context.job_.kind); kind != kinds_.end()) {
    try {
      outcome = kind->second.handler(context);
    } catch (const std::exception& caught) {
      outcome = fail(Code::kInternal, "jobs.exception", std::string("The handler failed: ") + caught.what() + ".");
    }
  }
  {
    const std::lock_guard lock(mutex_);
    running_.erase(context.job_.id.str());
  }
  if (auto settled = settle(context, outcome); !settled) {
    log::warn("jobs", "could not record how a job ended",
              {{"job", context.job_.id.str()}, {"cause", settled.error().text()}});
  }
}

Result<void> Jobs::settle(const Context& context, const Result<json::Object>& outcome) {
  const Job& job = context.job();
  return database_.write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(context.check(tx));
    const std::int64_t now_ms = clock_.now_ms();
    if (outcome)
      return store::settle(tx, job.id, {JobState::succeeded, job.failures, job.not_before_ms, now_ms, "", *outcome});
    if (outcome.error().reason == kInterrupted) {
      return store::settle(tx, job.id, {JobState::queued, job.failures, job.not_before_ms, std::nullopt, "", {}});
    }
    if (context.cancelled()) {
      return store::settle(tx, job.id,
                           {JobState::cancelled, job.failures, job.not_before_ms, now_ms, outcome.error().text(), {}});
    }
    return fail_or_retry(tx, job, outcome.error());
  });
}

Result<void> Jobs::fail_or_retry(sql::Tx& tx, const Job& job, const Error& error) {
  const std::int64_t now_ms = clock_.now_ms();
  const std::int64_t failures = job.failures + 1;
  if (failures < job.attempts_max) {
    const std::int64_t doublings = std::min<std::int64_t>(failures - 1, 20);
    const std::int64_t delay_ms = std::min(options_.retry_delay_ms << doublings, options_.retry_delay_max_ms);
    return store::settle(tx, job.id, {JobState::queued, failures, now_ms + delay_ms, std::nullopt, error.text(), {}});
  }
  TM_CHECK(store::settle(tx, job.id, {JobState::failed, failures, job.not_before_ms, now_ms, error.text(), {}}));
  TM_CHECK(
      events_.append(tx, {kJobFailedEvent,
                          "jobs/" + job.id.str(),
                          "system",
                          {{"kind", job.kind}, {"key", job.key}, {"error", error.text()}, {"failures", failures}}}));
  return {};
}

void Jobs::keeper_loop() {
  std::int64_t renew_ms = clock_.steady_ms() + options_.lease_ms / 3;
  std::int64_t tidy_ms = clock_.steady_ms() + kTidyEveryMs;
  while (true) {
    fire_due();
    bool busy = false;
    {
      std::unique_lock lock(mutex_);
      woken_.wait_for(lock, std::chrono::milliseconds(kLookMs), [&] { return stopping_; });
      if (stopping_) return;
      busy = !running_.empty();
    }
    const std::int64_t steady_ms = clock_.steady_ms();
    if (steady_ms >= renew_ms) {
      renew_ms = steady_ms + options_.lease_ms / 3;
      if (busy) {
        const std::int64_t until_ms = clock_.now_ms() + options_.lease_ms;
        if (auto renewed = database_.write([&](sql::Tx& tx) { return store::renew(tx, boot_, until_ms); }); !renewed) {
          log::warn("jobs", "could not renew leases", {{"cause", renewed.error().text()}});
        }
      }
    }
    if (steady_ms >= tidy_ms) {
      tidy_ms = steady_ms + kTidyEveryMs;
      tidy();
    }
  }
}

void Jobs::tidy() {
  const std::int64_t before_ms = clock_.now_ms() - options_.keep_finished_ms;
  if (auto tidied = database_.write([&](sql::Tx& tx) { return store::delete_finished_before(tx, before_ms); });
      !tidied) {
    log::warn("jobs", "could not delete old jobs", {{"cause", tidied.error().text()}});
  }
}

void Jobs::fire_due() {
  for (Repeat& repeat : repeats_) {
    const std::int64_t now_ms = clock_.now_ms();
    repeat.next_ms = repeat.schedule.corrected_ms(repeat.next_ms, now_ms);
    if (repeat.next_ms > now_ms) continue;
    const std::int64_t next_ms = repeat.schedule.next_ms(now_ms);
    const auto fired = database_.write([&](sql::Tx& tx) -> Result<void> {
      TM_CHECK(store::put_schedule(tx, repeat.name, {repeat.schedule.text(), next_ms}, now_ms));
      auto enqueued = enqueue(tx, repeat.job);
      if (!enqueued && enqueued.error().reason != "jobs.key_taken") return std::unexpected(enqueued.error());
      return {};
    });
    if (fired) {
      repeat.next_ms = next_ms;
    } else {
      log::warn("jobs", "could not start what is due", {{"schedule", repeat.name}, {"cause", fired.error().text()}});
    }
  }
}

}  // namespace tidemill::jobs
