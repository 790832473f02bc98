// The dynamic batcher: requests of one deployment are gathered while its model is busy. Private to this room.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "flow/predictions/types.h"

namespace tidemill::predictions {

using AnswerDone = std::function<void(Result<Answer>)>;

// A request on its way.
struct Work {
  Ask ask;
  AnswerDone done;
  std::size_t rows = 0;
  std::chrono::steady_clock::time_point begun{};
};

struct LaneOptions {
  std::int64_t workers = 2;  // runs at the same time, of all lanes; and of one lane, those of callers included
  std::int64_t batch_rows_max = 1024;      // gathered into one run; a larger request runs alone
  std::int64_t waiting_rows_max = 65'536;  // per deployment; past it a request is refused at once
  std::int64_t inline_us_max = 300;        // a run expected to be shorter happens on the caller's own thread; 0: never
};

// A lane per deployment. An idle lane runs a request at once: nobody waits for company, but whoever comes while it is
// busy shares the next run. What a lane's runs cost is measured: cheap ones happen on the thread that brought the
// request, which spares two changes of thread and is what single rows of tree models are; dear ones happen on workers,
// so that no I/O thread is held up.
class Lanes {
 public:
  // `run` is called with the works gathered for one deployment, and must call each `done` once, then or later.
  using Run = std::function<void(const std::string& deployment, std::vector<Work> works)>;

  Lanes(LaneOptions options, const Clock& clock, Run run);
  // Refuses what is still waiting (kUnavailable), finishes what runs.
  ~Lanes();

  // Takes the work and perhaps runs it, or calls its `done` with kExhausted. Any thread.
  void submit(Work work);

 private:
  struct Lane {
    std::deque<Work> waiting;
    std::size_t waiting_rows = 0;
    std::int64_t running = 0;  // runs at this moment
    bool queued = false;       // stands in runnable_
    double row_us = -1;        // moving average of what a row costs; below 0: not known yet
  };

  void loop();
  void refuse(Work& work, bool stopping) const;
  void run_here(Lane& lane, Work work);
  // Those below are called with mutex_ held.
  [[nodiscard]] bool can_run_here(const Lane& lane, std::size_t rows) const;
  void make_runnable(Lane& lane, const std::string& name);
  [[nodiscard]] std::vector<Work> take(Lane& lane, std::vector<Work>& expired);
  static void learn(Lane& lane, std::size_t rows, std::chrono::steady_clock::duration took);

  const LaneOptions options_;
  const Clock& clock_;
  const Run run_;

  std::mutex mutex_;
  std::condition_variable ready_;
  std::map<std::string, Lane, std::less<>> lanes_;  // never shrinks, so that references stay; guarded by mutex_
  std::deque<std::string> runnable_;                // lanes with work that a worker may take; guarded by mutex_
  bool closing_ = false;                            // guarded by mutex_

  std::vector<std::thread> threads_;  // last
};

}  // namespace tidemill::predictions
