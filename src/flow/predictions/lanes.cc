#include "flow/predictions/lanes.h"

#include <fmt/format.h>

#include <utility>

namespace tidemill::predictions {
namespace {

constexpr double kLearningRate = 0.1;

std::size_t rows_of(const std::vector<Work>& works) {
  std::size_t rows = 0;
  for (const auto& work : works) rows += work.rows;
  return rows;
}

}  // namespace

Lanes::Lanes(LaneOptions options, const Clock& clock, Run run)
    : options_(options), clock_(clock), run_(std::move(run)) {
  for (std::int64_t i = 0; i < options_.workers; ++i) threads_.emplace_back([this] { loop(); });
}

Lanes::~Lanes() {
  std::vector<Work> refused;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (auto& [name, lane] : lanes_) {
      for (auto& work : lane.waiting) refused.push_back(std::move(work));
      lane.waiting.clear();
    }
  }
  ready_.notify_all();
  for (auto& thread : threads_) thread.join();
  for (auto& work : refused) refuse(work, true);
}

void Lanes::refuse(Work& work, bool stopping) const {
  if (stopping) {
    work.done(fail(Code::kUnavailable, "predictions.stopping", "The server is shutting down.", "Ask again later."));
  } else {
    work.done(fail(Code::kExhausted, "predictions.queue_full",
                   fmt::format("Too many rows wait for '{}'.", work.ask.deployment), "Ask again in a second.",
                   {{"deployment", work.ask.deployment}}));
  }
}

bool Lanes::can_run_here(const Lane& lane, std::size_t rows) const {
  return lane.waiting.empty() && lane.running < options_.workers && lane.row_us >= 0 &&
         lane.row_us * static_cast<double>(rows) < static_cast<double>(options_.inline_us_max);
}

void Lanes::make_runnable(Lane& lane, const std::string& name) {
  if (lane.queued || lane.waiting.empty() || lane.running >= options_.workers) return;
  lane.queued = true;
  runnable_.push_back(name);
}

void Lanes::learn(Lane& lane, std::size_t rows, std::chrono::steady_clock::duration took) {
  const double row_us =
      std::chrono::duration<double, std::micro>(took).count() / static_cast<double>(std::max<std::size_t>(rows, 1));
  lane.row_us = lane.row_us < 0 ? row_us : lane.row_us + kLearningRate * (row_us - lane.row_us);
}

void Lanes::submit(Work work) {
  std::unique_lock lock(mutex_);
  const auto found = lanes_.find(work.ask.deployment);
  Lane& lane = found != lanes_.end() ? found->second : lanes_[work.ask.deployment];
  const bool full =
      !lane.waiting.empty() && lane.waiting_rows + work.rows > static_cast<std::size_t>(options_.waiting_rows_max);
  if (closing_ || full) {
    const bool stopping = closing_;
    lock.unlock();
    return refuse(work, stopping);
  }
  if (can_run_here(lane, work.rows)) {
    ++lane.running;
    lock.unlock();
    return run_here(lane, std::move(work));
  }
  const std::string name = work.ask.deployment;
  lane.waiting_rows += work.rows;
  lane.waiting.push_back(std::move(work));
  make_runnable(lane, name);
  lock.unlock();
  ready_.notify_one();
}

void Lanes::run_here(Lane& lane, Work work) {
  const std::string name = work.ask.deployment;
  const std::size_t rows = work.rows;
  const auto begun = std::chrono::steady_clock::now();
  std::vector<Work> works;
  works.push_back(std::move(work));
  run_(name, std::move(works));
  const auto took = std::chrono::steady_clock::now() - begun;
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    learn(lane, rows, took);
    --lane.running;
    make_runnable(lane, name);
    wake = lane.queued;
  }
  if (wake) ready_.notify_one();
}

// Takes as many works as fit into one run; those whose deadline is over go to `expired`.
std::vector<Work> Lanes::take(Lane& lane, std::vector<Work>& expired) {
  std::vector<Work> works;
  std::size_t rows = 0;
  const std::int64_t now_ms = clock_.steady_ms();
  while (!lane.waiting.empty()) {
    Work& next = lane.waiting.front();
    const bool late = next.ask.deadline_ms != 0 && next.ask.deadline_ms <= now_ms;
    if (!late && !works.empty() && rows + next.rows > static_cast<std::size_t>(options_.batch_rows_max)) break;
    lane.waiting_rows -= next.rows;
    if (!late) rows += next.rows;
    (late ? expired : works).push_back(std::move(next));
    lane.waiting.pop_front();
  }
  return works;
}

void Lanes::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    ready_.wait(lock, [&] { return closing_ || !runnable_.empty(); });
    if (runnable_.empty()) return;
    const std::string name = std::move(runnable_.front());
    runnable_.pop_front();
    Lane& lane = lanes_.find(name)->second;
    lane.queued = false;
    std::vector<Work> expired;
    std::vector<Work> works = take(lane, expired);
    ++lane.running;
    make_runnable(lane, name);  // what did not fit into this run may begin on another worker
    lock.unlock();
    for (auto& work : expired) {
      work.done(fail(Code::kUnavailable, "predictions.deadline",
                     "The time for this request was over before its turn came.",
                     "Allow more time, or ask for fewer rows."));
    }
    const std::size_t rows = rows_of(works);
    const auto begun = std::chrono::steady_clock::now();
    if (rows > 0) run_(name, std::move(works));
    const auto took = std::chrono::steady_clock::now() - begun;
    lock.lock();
    if (rows > 0) learn(lane, rows, took);
    --lane.running;
    make_runnable(lane, name);  // behind the others: one busy deployment does not starve them
  }
}

}  // namespace tidemill::predictions
