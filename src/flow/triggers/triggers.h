// The room of triggers: an event, the clock or a person starts a pipeline. See README.md.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "events/events.h"
#include "flow/pipelines/pipelines.h"
#include "flow/triggers/types.h"
#include "storage/sql/database.h"

namespace tidemill::triggers {

constexpr std::int64_t kFiresMax = 500;  // in one list

struct Options {
  std::int64_t look_ms = 250;           // how long the loop sleeps at most: how late a schedule may be
  std::int64_t cursor_lag_max = 1'000;  // events that a restart may have to look at again
};

// All functions may be called from any thread.
class Triggers {
 public:
  // Makes its tables.
  [[nodiscard]] static Result<std::unique_ptr<Triggers>> create(sql::Database& database, events::Events& events,
                                                                pipelines::Pipelines& pipelines, const Clock& clock,
                                                                Options options = {});
  ~Triggers();  // stop()
  Triggers(const Triggers&) = delete;
  Triggers& operator=(const Triggers&) = delete;

  // Makes a trigger. It heeds only events after its own triggers.made. kInvalidArgument for none or two of on, every
  // and cron, an unknown parameter of the pipeline or a malformed ${…}; kNotFound for an unknown pipeline;
  // kAlreadyExists.
  [[nodiscard]] Result<Trigger> make(const access::Actor& actor, const NewTrigger& trigger);
  // Replaces what it heeds and starts, from now on; its fires are kept. kNotFound.
  [[nodiscard]] Result<Trigger> replace(const access::Actor& actor, const NewTrigger& trigger);
  // What happens while it is disabled is not made up for.
  [[nodiscard]] Result<Trigger> enable(const access::Actor& actor, std::string_view name, bool enabled);

  [[nodiscard]] Result<std::vector<Trigger>> list();
  [[nodiscard]] Result<Trigger> get(std::string_view name);
  // Newest first; with a number below `before`, 0 = from the newest on.
  [[nodiscard]] Result<std::vector<Fire>> fires(std::string_view name, std::int64_t before = 0,
                                                std::int64_t limit = 100);

  // Starts its pipeline now, enabled or not and whatever its cooldown. Its params must not refer to an event:
  // kInvalidArgument.
  [[nodiscard]] Result<Fire> fire(const access::Actor& actor, std::string_view name);

  // Starts and stops the loop. Without start() nothing fires by itself.
  void start();
  void stop();

  // Returns whether every event so far has been dealt with.
  [[nodiscard]] bool idle();

 private:
  // What makes a trigger fire.
  struct Reason {
    FireKind kind = FireKind::event;
    std::string cause;
    const events::Event* event = nullptr;
    std::optional<std::int64_t> due_ms;
  };

  Triggers(sql::Database& database, events::Events& events, pipelines::Pipelines& pipelines, const Clock& clock,
           Options options)
      : database_(database), events_(events), pipelines_(pipelines), clock_(clock), options_(options) {}

  [[nodiscard]] Result<void> check(const NewTrigger& trigger);
  [[nodiscard]] Result<Trigger> store_new(const access::Actor& actor, const NewTrigger& trigger, bool replace);
  void loop();
  [[nodiscard]] Result<void> heed_events();
  [[nodiscard]] Result<void> heed_clock();
  [[nodiscard]] Result<void> fire_for_event(const std::string& name, const events::Event& event);
  [[nodiscard]] Result<void> fire_for_moment(const std::string& name, std::int64_t now_ms);
  [[nodiscard]] Result<Fire> fire_in(sql::Tx& tx, Trigger& trigger, const Reason& reason);
  [[nodiscard]] Result<void> fire_once(sql::Tx& tx, Trigger& trigger, const Reason& reason);
  [[nodiscard]] Result<void> start_run(sql::Tx& tx, const Trigger& trigger, const Reason& reason, Fire& fire);

  sql::Database& database_;
  events::Events& events_;
  pipelines::Pipelines& pipelines_;
  const Clock& clock_;
  const Options options_;

  std::atomic<bool> stopping_ = false;
  std::atomic<std::int64_t> seen_seq_ = 0;  // events up to this one have been looked at
  std::int64_t kept_seq_ = 0;               // of the loop; where all cursors on disk stand at least

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace tidemill::triggers
