#include "flow/predictions/lanes.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace tidemill::predictions {
namespace {

// Answers each work with its own request id, after `hold` has been opened.
class LanesTest : public testing::Test {
 protected:
  std::unique_ptr<Lanes> make(LaneOptions options) {
    return std::make_unique<Lanes>(options, clock_, [this](const std::string&, std::vector<Work> works) {
      threads_.push_back(std::this_thread::get_id());
      sizes_.push_back(works.size());
      started_.count_down();
      if (wait_) gate_.get_future().wait();
      wait_ = false;
      for (auto& work : works) {
        Answer answer;
        answer.ids = {work.ask.request_id};
        work.done(std::move(answer));
      }
    });
  }
  static Work work(std::string id, std::size_t rows, std::promise<Result<Answer>>& promise,
                   std::int64_t deadline_ms = 0) {
    Work made;
    made.ask.deployment = "flights";
    made.ask.request_id = std::move(id);
    made.ask.deadline_ms = deadline_ms;
    made.rows = rows;
    made.done = [&promise](Result<Answer> answer) { promise.set_value(std::move(answer)); };
    return made;
  }
  static Result<Answer> result(std::promise<Result<Answer>>& promise) { return promise.get_future().get(); }

  FakeClock clock_;
  bool wait_ = false;
  std::promise<void> gate_;
  std::latch started_{1000};
  std::vector<std::thread::id> threads_;
  std::vector<std::size_t> sizes_;
};

// One worker everywhere: then the lists above are written by one thread at a time.
TEST_F(LanesTest, WhoComesWhileItIsBusySharesTheNextRun) {
  wait_ = true;
  auto lanes = make({.workers = 1, .inline_us_max = 0});
  std::vector<std::promise<Result<Answer>>> promises(6);
  lanes->submit(work("0", 1, promises[0]));
  while (started_.try_wait() == false && sizes_.empty()) std::this_thread::yield();
  for (std::size_t i = 1; i < promises.size(); ++i) lanes->submit(work(std::to_string(i), 1, promises[i]));
  gate_.set_value();
  for (std::size_t i = 0; i < promises.size(); ++i)
    EXPECT_EQ(result(promises[i]).value().ids.front(), std::to_string(i));
  lanes.reset();
  EXPECT_EQ(sizes_, (std::vector<std::size_t>{1, 5}));
}

TEST_F(LanesTest, ARunHoldsNoMoreThanTheLimit) {
  wait_ = true;
  auto lanes = make({.workers = 1, .batch_rows_max = 10, .inline_us_max = 0});
  std::vector<std::promise<Result<Answer>>> promises(5);
  lanes->submit(work("first", 1, promises[0]));
  while (sizes_.empty()) std::this_thread::yield();
  lanes->submit(work("a", 6, promises[1]));
  lanes->submit(work("b", 4, promises[2]));   // fits to the row
  lanes->submit(work("c", 11, promises[3]));  // larger than a run: alone
  lanes->submit(work("d", 1, promises[4]));
  gate_.set_value();
  for (auto& promise : promises) EXPECT_TRUE(result(promise));
  lanes.reset();
  EXPECT_EQ(sizes_, (std::vector<std::size_t>{1, 2, 1, 1}));
}

TEST_F(LanesTest, AFullLaneRefuses) {
  wait_ = true;
  auto lanes = make({.workers = 1, .waiting_rows_max = 10, .inline_us_max = 0});
  std::vector<std::promise<Result<Answer>>> promises(4);
  lanes->submit(work("runs", 1, promises[0]));
  while (sizes_.empty()) std::this_thread::yield();
  lanes->submit(work("fills", 10, promises[1]));
  lanes->submit(work("too much", 1, promises[2]));
  const auto refused = result(promises[2]);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kExhausted);
  gate_.set_value();
  EXPECT_TRUE(result(promises[0]));
  EXPECT_TRUE(result(promises[1]));
}

TEST_F(LanesTest, WhoseTimeIsOverIsNotRun) {
  wait_ = true;
  auto lanes = make({.workers = 1, .inline_us_max = 0});
  std::vector<std::promise<Result<Answer>>> promises(3);
  lanes->submit(work("runs", 1, promises[0]));
  while (sizes_.empty()) std::this_thread::yield();
  lanes->submit(work("late", 1, promises[1], clock_.steady_ms() + 5));
  lanes->submit(work("patient", 1, promises[2], clock_.steady_ms() + 50));
  clock_.advance_ms(10);
  gate_.set_value();
  EXPECT_EQ(result(promises[1]).error().reason, "predictions.deadline");
  EXPECT_EQ(result(promises[2]).value().ids.front(), "patient");
  lanes.reset();
  EXPECT_EQ(sizes_, (std::vector<std::size_t>{1, 1}));
}

TEST_F(LanesTest, CheapRunsHappenOnTheCallersThread) {
  auto lanes = make({.workers = 1, .inline_us_max = 1'000'000});
  std::promise<Result<Answer>> first;
  lanes->submit(work("learns what a run costs", 1, first));
  EXPECT_TRUE(result(first));
  // The worker may still be busy with its books for a moment.
  for (int i = 0; i < 1000 && (threads_.empty() || threads_.back() != std::this_thread::get_id()); ++i) {
    std::promise<Result<Answer>> next;
    lanes->submit(work("next", 1, next));
    EXPECT_TRUE(result(next));
  }
  EXPECT_EQ(threads_.back(), std::this_thread::get_id());
}

TEST(LanesUnderLoadTest, EveryRequestGetsItsOwnAnswer) {
  SystemClock clock;
  Lanes lanes({.workers = 2}, clock, [](const std::string&, std::vector<Work> works) {
    for (auto& work : works) {
      Answer answer;
      answer.ids = {work.ask.request_id};
      work.done(std::move(answer));
    }
  });
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        const std::string id = std::to_string(t) + ":" + std::to_string(i);
        std::promise<bool> promise;
        Work work;
        work.ask.deployment = "lane" + std::to_string(t % 3);
        work.ask.request_id = id;
        work.rows = 1;
        work.done = [&](Result<Answer> answer) { promise.set_value(answer && answer->ids.front() == id); };
        lanes.submit(std::move(work));
        right += promise.get_future().get() ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 8 * 500);
}

}  // namespace
}  // namespace tidemill::predictions
