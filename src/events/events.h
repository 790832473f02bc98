// The append-only, hash-chained log. A fact and its event are one commit: rooms call append with the Tx of their rows.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "events/types.h"
#include "storage/sql/database.h"

namespace tidemill::events {

constexpr std::int64_t kReadMax = 1000;
constexpr std::size_t kPayloadBytesMax = 256 * 1024;

// All functions may be called from any thread.
class Events {
 public:
  // Makes or updates its table.
  [[nodiscard]] static Result<std::unique_ptr<Events>> create(sql::Database& database, const Clock& clock);

  // Appends within the caller's transaction and returns the event's seq. kTooLarge past kPayloadBytesMax.
  [[nodiscard]] Result<std::int64_t> append(sql::Tx& tx, NewEvent event);

  [[nodiscard]] Result<std::vector<Event>> read(const Filter& filter);
  [[nodiscard]] Result<std::vector<Event>> read(sql::Tx& tx, const Filter& filter);

  // Recomputes the whole chain.
  [[nodiscard]] Result<Verification> verify();

  // Returns the newest committed seq that this process knows of; waits up to `wait_ms` until it is past `after_seq`.
  [[nodiscard]] std::int64_t wait_past(std::int64_t after_seq, std::int64_t wait_ms);

  // Registers a callback that is told the new head after each commit with events, on the writer's thread: only wake
  // something up. Call before the server starts.
  void on_commit(std::function<void(std::int64_t head_seq)> callback);

  // Wakes every waiter for good: for shutdown.
  void close();

 private:
  Events(sql::Database& database, const Clock& clock) : database_(database), clock_(clock) {}
  void committed(std::int64_t seq);

  sql::Database& database_;
  const Clock& clock_;
  std::vector<std::function<void(std::int64_t)>> callbacks_;  // constant once the server runs

  std::mutex mutex_;
  std::condition_variable moved_;
  std::int64_t head_seq_ = 0;  // guarded by mutex_
  bool closed_ = false;        // guarded by mutex_
};

}  // namespace tidemill::events
