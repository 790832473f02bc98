#include "flow/predictions/lanes.h"

#include <fmt/format.h>

#include <utility>

namespace tidemill::predictions {

Lanes::Lanes(LaneOptions options, const Clock& clock, Run run) : options_(options), clock_(clock), run_(std::move(run)) {
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
  for (auto& work : refused) {
    work.done(fail(Code::kUnavailable, "predictions.stopping", "The server is shutting down.", "Ask again later."));
  }
}

void Lanes::submit(Work work) {
  std::optional<Error> refusal;
  {
    const std::lock_guard lock(mutex_);
    Lane& lane = lanes_[work.ask.deployment];
    if (closing_) {
      refusal = Error{Code::kUnavailable, "predictions.stopping", "The server is shutting down.", "Ask again later.", {}};
    } else if (lane.waiting_rows + work.rows > static_cast<std::size_t>(options_.waiting_rows_max) && !lane.waiting.empty()) {
      refusal = Error{Code::kExhausted, "predictions.queue_full", fmt::format("Too many rows wait for '{}'.", work.ask.deployment),
                      "Ask again in a second.", {{"deployment", work.ask.deployment}}};
    } else {
      lane.waiting_rows += work.rows;
      const std::string name = work.ask.deployment;
      lane.waiting.push_back(std::move(work));
      if (!lane.busy) {
        lane.busy = true;
        runnable_.push_back(name);
      }
    }
  }
  if (refusal) {
    work.done(std::unexpected(*std::move(refusal)));
  } else {
    ready_.notify_one();
  }
}

// Takes as many works as fit into one run; those whose deadline is over go to `expired`. The caller holds mutex_.
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
    std::vector<Work> expired;
    std::vector<Work> works = take(lanes_[name], expired);
    lock.unlock();
    for (auto& work : expired) {
      work.done(fail(Code::kUnavailable, "predictions.deadline", "The time for this request was over before its turn came.",
                     "Allow more time, or ask for fewer rows."));
    }
    if (!works.empty()) run_(name, std::move(works));
    lock.lock();
    Lane& lane = lanes_[name];
    if (lane.waiting.empty()) {
      lane.busy = false;
    } else {
      runnable_.push_back(name);  // behind the others: one busy deployment does not starve them
    }
  }
}

}  // namespace tidemill::predictions
