// The dynamic batcher: requests of one deployment are gathered while its model is busy. Private to this room.
#pragma once

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
};

struct LaneOptions {
  std::int64_t workers = 2;              // models running at the same time
  std::int64_t batch_rows_max = 1024;    // gathered into one run; a larger request runs alone
  std::int64_t waiting_rows_max = 65'536;  // per deployment; past it a request is refused at once
};

// A lane per deployment; a lane is run by one worker at a time. An idle lane runs its first request at once: nobody waits for company, but whoever comes
// while it is busy shares the next run.
class Lanes {
 public:
  // `run` is called on a worker with the works gathered for one deployment, and must call each `done` once, then or later.
  using Run = std::function<void(const std::string& deployment, std::vector<Work> works)>;

  Lanes(LaneOptions options, const Clock& clock, Run run);
  // Refuses what is still waiting (kUnavailable), finishes what runs.
  ~Lanes();

  // Takes the work, or calls its `done` with kExhausted. Any thread.
  void submit(Work work);

 private:
  struct Lane {
    std::deque<Work> waiting;
    std::size_t waiting_rows = 0;
    bool busy = false;
  };

  void loop();
  [[nodiscard]] std::vector<Work> take(Lane& lane, std::vector<Work>& expired);

  const LaneOptions options_;
  const Clock& clock_;
  const Run run_;

  std::mutex mutex_;
  std::condition_variable ready_;
  std::map<std::string, Lane> lanes_;   // guarded by mutex_
  std::deque<std::string> runnable_;    // lanes with work that no worker holds; guarded by mutex_
  bool closing_ = false;                // guarded by mutex_

  std::vector<std::thread> threads_;  // last
};

}  // namespace tidemill::predictions
