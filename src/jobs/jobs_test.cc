#include "jobs/jobs.h"

#include <gtest/gtest.h>

#include <chrono>
#include <set>

#include "base/files.h"

namespace tidemill::jobs {
namespace {

class JobsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.emplace(TemporaryFolder::create().value());
    open();
  }
  void TearDown() override { close(); }

  // A life of the server. What an earlier one left is found again.
  void open(JobsOptions options = {}) {
    database_ = sql::Database::open(folder_->path() / "db").value();
    events_ = events::Events::create(*database_, clock_).value();
    auto jobs = Jobs::create(*database_, *events_, clock_, options);
    ASSERT_TRUE(jobs) << jobs.error().text();
    jobs_ = *std::move(jobs);
  }
  void close() {
    jobs_.reset();
    events_.reset();
    database_.reset();
  }

  Result<JobId> enqueue(NewJob job) {
    return database_->write([&](sql::Tx& tx) { return jobs_->enqueue(tx, job); });
  }
  Job await(const JobId& id, JobState state) {
    for (int i = 0; i < 2'000; ++i) {
      auto job = jobs_->get(id);
      if (job && job->state == state) return *job;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ADD_FAILURE() << "job is " << enum_name(jobs_->get(id)->state) << ", not " << enum_name(state);
    return jobs_->get(id).value();
  }
  template <class F>
  void await_that(F&& condition) {
    for (int i = 0; i < 2'000 && !condition(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_TRUE(condition());
  }

  std::optional<TemporaryFolder> folder_;
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<Jobs> jobs_;
};

TEST_F(JobsTest, RunsWhatWasEnqueuedAndKeepsItsResult) {
  jobs_->handle("add", [](Context& c) -> Result<json::Object> {
    return json::Object{{"sum", c.job().payload.at("a").as_int64() + c.job().payload.at("b").as_int64()}};
  });
  jobs_->start();
  const auto id = enqueue({.kind = "add", .key = "", .payload = {{"a", 2}, {"b", 3}}});
  ASSERT_TRUE(id);
  EXPECT_EQ(await(*id, JobState::succeeded).result.at("sum").as_int64(), 5);
  EXPECT_EQ(jobs_->live().value(), 0);
}

TEST_F(JobsTest, AJobOfAnUndoneTransactionNeverRuns) {
  std::atomic<int> runs = 0;
  jobs_->handle("count", [&](Context&) -> Result<json::Object> { return ++runs, json::Object{}; });
  jobs_->start();
  EXPECT_FALSE(database_->write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(jobs_->enqueue(tx, {.kind = "count"}));
    return fail(Code::kInternal, "test", "undo");
  }));
  await(enqueue({.kind = "count"}).value(), JobState::succeeded);
  EXPECT_EQ(runs, 1);
}

TEST_F(JobsTest, AKeyIsUniqueWhileItsJobLives) {
  const auto first = enqueue({.kind = "k", .key = "a"});
  ASSERT_TRUE(first);
  EXPECT_EQ(enqueue({.kind = "k", .key = "a"}).error().reason, "jobs.key_taken");
  EXPECT_TRUE(enqueue({.kind = "k", .key = "b"}));
  EXPECT_TRUE(enqueue({.kind = "other", .key = "a"}));
  ASSERT_TRUE(database_->write([&](sql::Tx& tx) { return jobs_->cancel(tx, *first); }));
  EXPECT_TRUE(enqueue({.kind = "k", .key = "a"})) << "the first has ended";
}

TEST_F(JobsTest, RefusesPastTheLimit) {
  close();
  open({.queued_max = 2});
  EXPECT_TRUE(enqueue({.kind = "k"}));
  EXPECT_TRUE(enqueue({.kind = "k"}));
  EXPECT_EQ(enqueue({.kind = "k"}).error().code, Code::kExhausted);
}

TEST_F(JobsTest, TriesAgainWithGrowingPausesAndThenFailsWithAnEvent) {
  std::atomic<int> runs = 0;
  jobs_->handle("bad", [&](Context&) -> Result<json::Object> {
    ++runs;
    return fail(Code::kInternal, "test.bad", "It broke.");
  });
  jobs_->start();
  const auto id = enqueue({.kind = "bad", .key = "", .payload = {}, .not_before_ms = 0, .attempts_max = 3}).value();
  await_that([&] { return jobs_->get(id)->failures == 1; });
  EXPECT_EQ(jobs_->get(id)->not_before_ms, clock_.now_ms() + 1'000);
  clock_.advance_ms(1'000);
  await_that([&] { return jobs_->get(id)->failures == 2; });
  EXPECT_EQ(jobs_->get(id)->not_before_ms, clock_.now_ms() + 2'000);
  clock_.advance_ms(2'000);
  EXPECT_EQ(await(id, JobState::failed).error, "It broke.");
  EXPECT_EQ(runs, 3);
  const auto events = events_->read({.after_seq = 0, .kind_prefix = "jobs.failed", .subject_prefix = ""}).value();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].subject, "jobs/" + id.str());
}

TEST_F(JobsTest, AHandlerThatThrowsFailsItsJobAlone) {
  jobs_->handle("throws", [](Context&) -> Result<json::Object> { throw std::runtime_error("oops"); });
  jobs_->handle("fine", [](Context&) -> Result<json::Object> { return json::Object{}; });
  jobs_->start();
  EXPECT_NE(await(enqueue({.kind = "throws"}).value(), JobState::failed).error.find("oops"), std::string::npos);
  EXPECT_NE(await(enqueue({.kind = "unknown"}).value(), JobState::failed).error.find("unknown"), std::string::npos);
  await(enqueue({.kind = "fine"}).value(), JobState::succeeded);
}

TEST_F(JobsTest, AFencedHolderCannotWriteAnyMore) {
  std::atomic<bool> taken = false;
  std::atomic<bool> go_on = false;
  std::optional<Result<void>> late;
  jobs_->handle("slow", [&](Context& c) -> Result<json::Object> {
    if (c.job().fence > 1) return json::Object{{"by", "second"}};
    taken = true;
    while (!go_on) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    late = database_->write([&](sql::Tx& tx) { return c.check(tx); });
    return json::Object{{"by", "first"}};
  });
  jobs_->start();
  const auto id = enqueue({.kind = "slow"}).value();
  await_that([&] { return taken.load(); });
  // Another server takes the job over, as it would from one that was paused for longer than its lease.
  constexpr sql::Query kTakeOver{"test.take_over", "UPDATE jobs SET state = 'queued' WHERE id = ?1"};
  ASSERT_TRUE(database_->write([&](sql::Tx& tx) { return tx.exec(kTakeOver, id); }));
  EXPECT_EQ(await(id, JobState::succeeded).result.at("by").as_string(), "second");
  go_on = true;
  jobs_->stop();
  ASSERT_TRUE(late);
  EXPECT_EQ(late->error().reason, "jobs.fenced");
  EXPECT_EQ(jobs_->get(id)->result.at("by").as_string(), "second");
}

TEST_F(JobsTest, WhatRanWhenTheServerDiedRunsAgainAfterTheNextStart) {
  const auto id = enqueue({.kind = "k"}).value();
  // A life that takes the job and then is no more: its row stays as it was.
  constexpr sql::Query kTakenByTheDead{"test.taken",
                                       "UPDATE jobs SET state = 'running', owner = 'dead', fence = 5 WHERE id = ?1"};
  ASSERT_TRUE(database_->write([&](sql::Tx& tx) { return tx.exec(kTakenByTheDead, id); }));
  close();
  open();
  EXPECT_EQ(jobs_->get(id)->state, JobState::queued);
  jobs_->handle("k", [](Context& c) -> Result<json::Object> { return json::Object{{"fence", c.job().fence}}; });
  jobs_->start();
  const Job job = await(id, JobState::succeeded);
  EXPECT_EQ(job.result.at("fence").as_int64(), 6);
  EXPECT_EQ(job.failures, 0) << "a crash is not a failure of the handler";
}

TEST_F(JobsTest, StopInterruptsAndPutsBack) {
  std::atomic<bool> began = false;
  std::mutex mutex;
  std::condition_variable woken;
  jobs_->handle("long", [&](Context& c) -> Result<json::Object> {
    c.on_interrupt([&] { woken.notify_all(); });
    began = true;
    std::unique_lock lock(mutex);
    while (!c.stopping()) woken.wait_for(lock, std::chrono::milliseconds(20));
    return fail(Context::interrupted());
  });
  jobs_->start();
  const auto id = enqueue({.kind = "long"}).value();
  await_that([&] { return began.load(); });
  jobs_->stop();
  EXPECT_EQ(jobs_->get(id)->state, JobState::queued);
}

TEST_F(JobsTest, CancelReachesARunningHandler) {
  std::atomic<bool> began = false;
  jobs_->handle("long", [&](Context& c) -> Result<json::Object> {
    began = true;
    while (!c.cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return fail(Code::kConflict, "test.cancelled", "Cancelled.");
  });
  jobs_->start();
  const auto id = enqueue({.kind = "long"}).value();
  await_that([&] { return began.load(); });
  ASSERT_TRUE(database_->write([&](sql::Tx& tx) { return jobs_->cancel(tx, id); }));
  await(id, JobState::cancelled);
  EXPECT_EQ(database_->write([&](sql::Tx& tx) { return jobs_->cancel(tx, JobId::generate()); }).error().code,
            Code::kNotFound);
}

TEST_F(JobsTest, ManyJobsRunOnceEach) {
  std::mutex mutex;
  std::multiset<std::int64_t> seen;
  jobs_->handle("n", [&](Context& c) -> Result<json::Object> {
    const std::lock_guard lock(mutex);
    seen.insert(c.job().payload.at("n").as_int64());
    return json::Object{};
  });
  jobs_->start();
  constexpr int kMany = 300;
  for (int n = 0; n < kMany; ++n) ASSERT_TRUE(enqueue({.kind = "n", .key = "", .payload = {{"n", n}}}));
  await_that([&] { return jobs_->live().value_or(1) == 0; });
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kMany));
  for (int n = 0; n < kMany; ++n) EXPECT_EQ(seen.count(n), 1U) << n;
}

TEST_F(JobsTest, AKindThatIsFullLeavesWorkersToTheOthers) {
  std::atomic<int> slow_now = 0;
  std::atomic<int> slow_most = 0;
  std::atomic<bool> go_on = false;
  jobs_->handle(
      "slow",
      [&](Context&) -> Result<json::Object> {
        const int now = ++slow_now;
        slow_most = std::max(slow_most.load(), now);
        while (!go_on) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        --slow_now;
        return json::Object{};
      },
      2);
  jobs_->handle("quick", [](Context&) -> Result<json::Object> { return json::Object{}; });
  jobs_->start();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(enqueue({.kind = "slow"}));
  await(enqueue({.kind = "quick"}).value(), JobState::succeeded);
  go_on = true;
  await_that([&] { return jobs_->live().value_or(1) == 0; });
  EXPECT_EQ(slow_most, 2);
}

TEST_F(JobsTest, ARepeatedJobFiresOncePerMomentAcrossRestarts) {
  std::atomic<int> runs = 0;
  const auto begin = [&] {
    jobs_->handle("tick", [&](Context&) -> Result<json::Object> { return ++runs, json::Object{}; });
    ASSERT_TRUE(jobs_->repeat("tick", Schedule::every("1h").value(), {.kind = "tick", .key = "tick"}));
    jobs_->start();
  };
  begin();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(runs, 0) << "not before its time";
  clock_.advance_ms(3'600'000);
  await_that([&] { return runs == 1; });
  close();
  clock_.advance_ms(5 * 3'600'000);  // a long stop: five times missed
  open();
  begin();
  await_that([&] { return runs == 2; });
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  EXPECT_EQ(runs, 2) << "missed times are made up for once";
}

}  // namespace
}  // namespace tidemill::jobs
