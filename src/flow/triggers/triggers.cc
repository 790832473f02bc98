#include "flow/triggers/triggers.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/expand.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/triggers/events.h"
#include "flow/triggers/schema.sql.h"
#include "flow/triggers/store.h"
#include "jobs/schedule.h"

namespace tidemill::triggers {
namespace {

constexpr std::int64_t kAfterErrorMs = 1'000;
constexpr std::size_t kCauseMax = 400;

std::unexpected<Error> unknown(std::string_view name) {
  return fail(Code::kNotFound, "triggers.unknown", "There is no trigger '" + std::string(name.substr(0, 100)) + "'.",
              "See the list of triggers.");
}

Result<std::optional<jobs::Schedule>> schedule_of(const NewTrigger& trigger) {
  if (trigger.every) return std::optional(TM_TRY(jobs::Schedule::every(*trigger.every)));
  if (trigger.cron) return std::optional(TM_TRY(jobs::Schedule::cron(*trigger.cron)));
  return std::optional<jobs::Schedule>();
}

bool heeds(const Trigger& trigger, const events::Event& event) {
  if (!trigger.enabled || !trigger.on || event.seq <= trigger.cursor_seq) return false;
  const EventFilter& filter = *trigger.on;
  const bool kind = filter.kind.ends_with('.') ? event.kind.starts_with(filter.kind) : event.kind == filter.kind;
  if (!kind || !event.subject.starts_with(filter.subject.value_or(""))) return false;
  if (!filter.where) return true;
  return std::ranges::all_of(*filter.where, [&](const auto& entry) {
    const json::Value* value = event.payload.if_contains(entry.key());
    return value != nullptr && json::canonical(*value) == json::canonical(entry.value());
  });
}

std::string cause_of(const events::Event& event) {
  std::string cause = event.kind + " " + event.subject;
  if (const json::Value* why = event.payload.if_contains("cause"); why != nullptr && why->is_string()) {
    cause += ": " + std::string(why->get_string());
  }
  return printable_utf8(cause, kCauseMax);
}

json::Object definition_of(const NewTrigger& trigger) {
  json::Object definition = json::to_json(trigger).as_object();
  definition.erase("name");
  return definition;
}

// The pipeline refused what it was asked; anything else is our trouble, and is tried again.
bool is_refusal(Code code) {
  return code == Code::kNotFound || code == Code::kInvalidArgument || code == Code::kTooLarge;
}

}  // namespace

Result<std::unique_ptr<Triggers>> Triggers::create(sql::Database& database, events::Events& events,
                                                   pipelines::Pipelines& pipelines, const Clock& clock,
                                                   Options options) {
  TM_CHECK(database.migrate("triggers", kSchemaSql));
  std::unique_ptr<Triggers> room(new Triggers(database, events, pipelines, clock, options));
  // Begin where the slowest cursor stands: each trigger passes over what its own cursor has behind it.
  const auto all = TM_TRY(room->list());
  std::int64_t seq = events.wait_past(0, 0);
  for (const Trigger& trigger : all) {
    if (trigger.enabled && trigger.on) seq = std::min(seq, trigger.cursor_seq);
  }
  room->seen_seq_ = seq;
  room->kept_seq_ = seq;
  return room;
}

Triggers::~Triggers() { stop(); }

Result<void> Triggers::check(const NewTrigger& trigger) {
  TM_CHECK(check_name("trigger", trigger.name));
  if (static_cast<int>(trigger.on.has_value()) + static_cast<int>(trigger.every.has_value()) +
          static_cast<int>(trigger.cron.has_value()) !=
      1) {
    return fail(Code::kInvalidArgument, "triggers.when",
                "Trigger '" + trigger.name + "' must have one of on, every and cron.", "Give exactly one.");
  }
  TM_CHECK(schedule_of(trigger));
  if (trigger.cooldown) TM_CHECK(parse_duration_ms(*trigger.cooldown));
  if (trigger.on && (trigger.on->kind.empty() || trigger.on->kind.starts_with("triggers."))) {
    return fail(Code::kInvalidArgument, "triggers.bad_kind",
                "Trigger '" + trigger.name + "' cannot be on the event kind '" + trigger.on->kind.substr(0, 100) + "'.",
                "Name a kind such as monitors.alerted; a trigger's own events would fire it for ever.");
  }
  const auto version = TM_TRY(pipelines_.version(trigger.start.pipeline));
  const json::Object params = trigger.start.params.value_or(json::Object{});
  for (const auto& entry : params) {
    if (version.params.contains(entry.key())) continue;
    return fail(Code::kInvalidArgument, "triggers.unknown_param",
                fmt::format("Pipeline '{}' has no parameter '{}'.", version.pipeline, std::string_view(entry.key())),
                "See its params.");
  }
  for (const std::string& path : TM_TRY(references(params))) {
    constexpr std::string_view kEventFields = " event.seq event.kind event.subject event.actor event.at_ms ";
    const bool of_event =
        path.starts_with("event.payload.") || kEventFields.find(" " + path + " ") != std::string_view::npos;
    if (path == "trigger" || (of_event && trigger.on) || (path == "due_ms" && !trigger.on)) continue;
    return fail(
        Code::kInvalidArgument, "triggers.bad_reference",
        fmt::format("Trigger '{}' refers to ${{{}}}, which means nothing here.", trigger.name, path.substr(0, 100)),
        trigger.on ? "Use ${trigger}, ${event.seq}, ${event.kind}, ${event.subject}, ${event.payload.x}."
                   : "Use ${trigger} or ${due_ms}.");
  }
  return {};
}

Result<Trigger> Triggers::store_new(const access::Actor& actor, const NewTrigger& request, bool replace) {
  TM_CHECK(check(request));
  return database_.write([&](sql::Tx& tx) -> Result<Trigger> {
    const auto known = TM_TRY(store::find(tx, request.name));
    if (known && !replace) {
      return fail(Code::kAlreadyExists, "triggers.exists", "There is a trigger '" + request.name + "' already.",
                  "Choose another name, or replace it.");
    }
    if (!known && replace) return unknown(request.name);
    Trigger trigger = known.value_or(Trigger{});
    static_cast<NewTrigger&>(trigger) = request;
    if (!known) {
      trigger.made_by = actor.name;
      trigger.made_ms = clock_.now_ms();
    }
    const auto schedule = TM_TRY(schedule_of(trigger));
    trigger.next_ms = schedule ? std::optional(schedule->next_ms(clock_.now_ms())) : std::nullopt;
    trigger.cursor_seq = TM_TRY(events_.append(
        tx, {replace ? kReplacedEvent : kMadeEvent, "triggers/" + trigger.name, actor.name, definition_of(trigger)}));
    TM_CHECK(store::put(tx, trigger));
    return trigger;
  });
}

Result<Trigger> Triggers::make(const access::Actor& actor, const NewTrigger& trigger) {
  return store_new(actor, trigger, false);
}

Result<Trigger> Triggers::replace(const access::Actor& actor, const NewTrigger& trigger) {
  return store_new(actor, trigger, true);
}

Result<Trigger> Triggers::enable(const access::Actor& actor, std::string_view name, bool enabled) {
  return database_.write([&](sql::Tx& tx) -> Result<Trigger> {
    auto trigger = TM_TRY(store::find(tx, name));
    if (!trigger) return unknown(name);
    if (trigger->enabled == enabled) return *trigger;
    trigger->enabled = enabled;
    const std::int64_t seq = TM_TRY(
        events_.append(tx, {enabled ? kEnabledEvent : kDisabledEvent, "triggers/" + trigger->name, actor.name, {}}));
    if (enabled) {
      trigger->cursor_seq = seq;
      if (const auto schedule = TM_TRY(schedule_of(*trigger))) trigger->next_ms = schedule->next_ms(clock_.now_ms());
    }
    TM_CHECK(store::put(tx, *trigger));
    return *trigger;
  });
}

Result<std::vector<Trigger>> Triggers::list() {
  return database_.read([](sql::Tx& tx) { return store::list(tx); });
}

Result<Trigger> Triggers::get(std::string_view name) {
  auto trigger = TM_TRY(database_.read([&](sql::Tx& tx) { return store::find(tx, name); }));
  if (!trigger) return unknown(name);
  return *std::move(trigger);
}

Result<std::vector<Fire>> Triggers::fires(std::string_view name, std::int64_t before, std::int64_t limit) {
  if (limit < 1 || limit > kFiresMax) {
    return fail(Code::kInvalidArgument, "triggers.bad_limit", fmt::format("The limit {} is out of range.", limit),
                fmt::format("Use 1 to {}.", kFiresMax));
  }
  TM_CHECK(get(name));
  return database_.read([&](sql::Tx& tx) { return store::fires(tx, name, before, limit); });
}

Result<Fire> Triggers::fire(const access::Actor& actor, std::string_view name) {
  return database_.write([&](sql::Tx& tx) -> Result<Fire> {
    auto trigger = TM_TRY(store::find(tx, name));
    if (!trigger) return unknown(name);
    const Reason reason{FireKind::manual, "fired by " + actor.name, nullptr, std::nullopt};
    const Fire fire = TM_TRY(fire_in(tx, *trigger, reason));
    if (fire.outcome == FireOutcome::failed) {
      return fail(Code::kInvalidArgument, "triggers.refused", fire.message,
                  "Start the pipeline itself, with the params it needs.");
    }
    return fire;
  });
}

// Records the fire and what it led to, with the run itself, in one transaction: an event or moment fires a trigger
// once.
Result<Fire> Triggers::fire_in(sql::Tx& tx, Trigger& trigger, const Reason& reason) {
  Fire fire;
  fire.trigger = trigger.name;
  fire.kind = reason.kind;
  fire.cause = reason.cause;
  if (reason.event != nullptr) fire.event_seq = reason.event->seq;
  fire.due_ms = reason.due_ms;
  fire.at_ms = clock_.now_ms();
  fire.number = TM_TRY(store::insert_fire(tx, fire));
  const std::int64_t cooldown_ms = trigger.cooldown ? TM_TRY(parse_duration_ms(*trigger.cooldown)) : 0;
  const bool cooling = reason.kind != FireKind::manual && trigger.started_ms && fire.at_ms >= *trigger.started_ms &&
                       fire.at_ms - *trigger.started_ms < cooldown_ms;
  if (cooling) {
    fire.outcome = FireOutcome::cooling;
    fire.message = fmt::format("It started a run {} s ago; its cooldown is {}.",
                               (fire.at_ms - *trigger.started_ms) / 1'000, *trigger.cooldown);
  } else {
    TM_CHECK(start_run(tx, trigger, reason, fire));
    if (fire.outcome == FireOutcome::started) trigger.started_ms = fire.at_ms;
  }
  TM_CHECK(store::settle_fire(tx, fire));
  TM_CHECK(store::put(tx, trigger));
  return fire;
}

// The unique index stands behind the cursor: what has fired already only moves it on.
Result<void> Triggers::fire_once(sql::Tx& tx, Trigger& trigger, const Reason& reason) {
  const auto fired = fire_in(tx, trigger, reason);
  if (fired) return {};
  if (fired.error().code == Code::kAlreadyExists) return store::put(tx, trigger);
  return std::unexpected(fired.error());
}

Result<void> Triggers::start_run(sql::Tx& tx, const Trigger& trigger, const Reason& reason, Fire& fire) {
  json::Object scope{{"trigger", trigger.name}};
  if (reason.event != nullptr) scope["event"] = json::to_json(*reason.event);
  if (reason.due_ms) scope["due_ms"] = *reason.due_ms;
  const auto run = [&]() -> Result<pipelines::Run> {
    const json::Value params = TM_TRY(expand(trigger.start.params.value_or(json::Object{}),
                                             [&](std::string_view path) { return value_at(scope, path); }));
    const access::Actor actor{"triggers/" + trigger.name, {access::Role::service}};
    return pipelines_.start(tx, actor, trigger.start.pipeline, {params.as_object(), fire.cause, std::nullopt});
  }();
  json::Object payload{{"number", fire.number},
                       {"kind", enum_name(fire.kind)},
                       {"cause", fire.cause},
                       {"pipeline", trigger.start.pipeline}};
  if (fire.event_seq) payload["event_seq"] = *fire.event_seq;
  if (fire.due_ms) payload["due_ms"] = *fire.due_ms;
  const char* kind = kFiredEvent;
  if (run) {
    fire.pipeline_run = run->id.str();
    payload["pipeline_run"] = run->id.str();
  } else if (is_refusal(run.error().code)) {
    kind = kFailedEvent;
    fire.outcome = FireOutcome::failed;
    fire.message = printable_utf8(run.error().text(), kCauseMax);
    payload["message"] = fire.message;
  } else {
    return std::unexpected(run.error());
  }
  TM_CHECK(events_.append(tx, {kind, "triggers/" + trigger.name, "system", std::move(payload)}));
  return {};
}

Result<void> Triggers::fire_for_event(const std::string& name, const events::Event& event) {
  return database_.write([&](sql::Tx& tx) -> Result<void> {
    auto trigger = TM_TRY(store::find(tx, name));
    if (!trigger || !heeds(*trigger, event)) return {};  // changed meanwhile
    trigger->cursor_seq = event.seq;
    return fire_once(tx, *trigger, {FireKind::event, cause_of(event), &event, std::nullopt});
  });
}

Result<void> Triggers::fire_for_moment(const std::string& name, std::int64_t now_ms) {
  return database_.write([&](sql::Tx& tx) -> Result<void> {
    auto trigger = TM_TRY(store::find(tx, name));
    if (!trigger || !trigger->enabled || !trigger->next_ms) return {};
    const auto schedule = TM_TRY(schedule_of(*trigger));
    const std::int64_t due_ms = schedule->corrected_ms(*trigger->next_ms, now_ms);
    if (due_ms > now_ms) {
      if (due_ms == *trigger->next_ms) return {};
      trigger->next_ms = due_ms;
      return store::put(tx, *trigger);
    }
    trigger->next_ms = schedule->next_ms(now_ms);
    return fire_once(tx, *trigger, {FireKind::schedule, schedule->text(), nullptr, due_ms});
  });
}

Result<void> Triggers::heed_events() {
  while (!stopping_.load()) {
    const auto batch = TM_TRY(events_.read(
        {.after_seq = seen_seq_.load(), .kind_prefix = "", .subject_prefix = "", .limit = events::kReadMax}));
    if (batch.empty()) return {};
    const auto all = TM_TRY(list());
    for (const events::Event& event : batch) {
      for (const Trigger& trigger : all) {
        if (heeds(trigger, event)) TM_CHECK(fire_for_event(trigger.name, event));
      }
      seen_seq_ = event.seq;
    }
    if (seen_seq_.load() - kept_seq_ < options_.cursor_lag_max) continue;
    TM_CHECK(database_.write([&](sql::Tx& tx) { return store::move_cursors(tx, seen_seq_.load()); }));
    kept_seq_ = seen_seq_.load();
  }
  return {};
}

Result<void> Triggers::heed_clock() {
  const std::int64_t now_ms = clock_.now_ms();
  for (const Trigger& trigger : TM_TRY(list())) {
    if (!trigger.enabled || !trigger.next_ms) continue;
    const auto schedule = TM_TRY(schedule_of(trigger));
    const bool moved = schedule->corrected_ms(*trigger.next_ms, now_ms) != *trigger.next_ms;
    if (*trigger.next_ms <= now_ms || moved) TM_CHECK(fire_for_moment(trigger.name, now_ms));
  }
  return {};
}

void Triggers::loop() {
  while (!stopping_.load()) {
    auto heeded = heed_events();
    if (heeded) heeded = heed_clock();
    if (!heeded) {
      log::warn("triggers", "could not deal with events", {{"cause", heeded.error().text()}});
      for (std::int64_t waited_ms = 0; waited_ms < kAfterErrorMs && !stopping_.load(); waited_ms += 20) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
      continue;
    }
    [[maybe_unused]] const std::int64_t head = events_.wait_past(seen_seq_.load(), options_.look_ms);
  }
}

void Triggers::start() {
  stopping_ = false;
  thread_ = std::thread([this] { loop(); });
}

void Triggers::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

bool Triggers::idle() { return seen_seq_.load() >= events_.wait_past(0, 0); }

}  // namespace tidemill::triggers
