// The one thread that writes, and its group commit. Private to storage/sql.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/result.h"
#include "storage/sql/connection.h"
#include "storage/sql/database.h"

namespace tidemill::sql {

// Takes work from any thread, runs it on its own. While one commit waits for the disk the next requests gather and
// then share one commit: N waiting clients pay for about one sync, not N.
class Writer {
 public:
  struct Work {
    std::function<Result<void>(Tx&)> function;
    std::function<void(Result<void>)> done;
  };

  Writer(std::unique_ptr<Connection> connection, const Options& options);
  ~Writer();  // finishes what is queued

  // Takes the work, or calls its `done` with an error at once when the queue is full or a sync has failed.
  void submit(Work work);

  [[nodiscard]] bool healthy() const { return healthy_.load(); }
  [[nodiscard]] bool on_this_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

 private:
  void loop();
  void commit_group(std::vector<Work>& group);
  [[nodiscard]] Result<void> run_one(Work& work, Tx& tx);
  void undo_all();

  const Options options_;
  const std::unique_ptr<Connection> connection_;  // used by thread_ alone
  std::atomic<bool> healthy_ = true;

  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Work> waiting_;  // guarded by mutex_
  bool closing_ = false;      // guarded by mutex_

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace tidemill::sql
