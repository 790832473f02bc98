// The room of monitors: watches what is deployed. See README.md.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/deployments/deployments.h"
#include "flow/models/models.h"
#include "flow/monitors/types.h"
#include "flow/predictions/predictions.h"
#include "flow/requirements/requirements.h"
#include "storage/sql/database.h"

namespace tidemill::monitors {

struct Options {
  using json_defaults = void;
  std::int64_t check_every_ms = 200;  // how often it looks whether a window is over or a canary can be judged
};
BOOST_DESCRIBE_STRUCT(Options, (), (check_every_ms))

struct Parts {
  sql::Database& database;
  events::Events& events;
  requirements::Requirements& requirements;
  models::Models& models;
  deployments::Deployments& deployments;
  predictions::Predictions& predictions;
  const Clock& clock;
};

// All functions may be called from any thread.
class Monitors {
 public:
  // Makes or updates its tables.
  [[nodiscard]] static Result<std::unique_ptr<Monitors>> create(Parts parts, Options options = {});
  ~Monitors();  // stop()

  // Begins to watch a deployment from its first prediction on. kNotFound for an unknown deployment or requirement,
  // kInvalidArgument for a window or limit that makes no sense. Event monitors.created.
  [[nodiscard]] Result<Monitor> add(const access::Actor& actor, const NewMonitor& monitor);
  [[nodiscard]] Result<Monitor> get(std::string_view name);
  [[nodiscard]] Result<std::vector<Monitor>> list();
  // Closed windows, oldest first. kNotFound for an unknown monitor.
  [[nodiscard]] Result<std::vector<Window>> windows(std::string_view name);
  // The open window; nothing before the first prediction. kNotFound for an unknown monitor.
  [[nodiscard]] Result<std::optional<Upcoming>> upcoming(std::string_view name);

  // Closes every window that is over and judges every canary that can be; returns how many windows it closed. What the
  // thread of start() does again and again. Safe to call from several threads and servers: a window is closed once.
  // Events monitors.window_closed and monitors.alerted.
  [[nodiscard]] Result<std::int64_t> check();
  // Returns whether check() would find something to do: a window that is over, or a canary with enough labels. Cheap.
  [[nodiscard]] Result<bool> pending();

  void start();
  void stop();

 private:
  Monitors(Parts parts, Options options) : parts_(parts), options_(options) {}

  [[nodiscard]] std::int64_t now_of(const Monitor& monitor) const;
  // Returns the window that begins at `next_start_ms`, or that of the oldest prediction; nothing before there is one.
  [[nodiscard]] Result<std::optional<Upcoming>> open_window(const Monitor& monitor,
                                                            std::optional<std::int64_t> next_start_ms) const;
  // Returns the first window of the monitor that is over, or nothing; `next_start_ms` is where the open window begins.
  struct Due;
  [[nodiscard]] Result<std::optional<Due>> due(const Monitor& monitor, std::optional<std::int64_t> next_start_ms);
  [[nodiscard]] Result<Window> close(const Monitor& monitor, const Due& due);
  [[nodiscard]] Result<std::int64_t> check_windows();
  [[nodiscard]] Result<void> judge_canaries();
  [[nodiscard]] Result<void> judge_canary(const deployments::Deployment& deployment);
  [[nodiscard]] bool can_be_judged(const deployments::Deployment& deployment) const;
  void loop();

  const Parts parts_;
  const Options options_;

  std::mutex checking_;  // one check at a time in this process

  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace tidemill::monitors
