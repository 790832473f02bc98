// Triggers: what makes the mill turn by itself.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"

namespace tidemill::triggers {

// Which events: the kind exactly or, ending in '.', all kinds that begin so; the subject by prefix; and payload fields
// by equality.
struct EventFilter {
  std::string kind;
  std::optional<std::string> subject;
  std::optional<json::Object> where;
};
BOOST_DESCRIBE_STRUCT(EventFilter, (), (kind, subject, where))

// What is started. Texts in `params` may hold ${event.seq}, ${event.kind}, ${event.subject}, ${event.actor},
// ${event.at_ms}, ${event.payload.x} (of an event),
// ${due_ms} (of a schedule) and ${trigger}.
struct Start {
  std::string pipeline;
  std::optional<json::Object> params;
};
BOOST_DESCRIBE_STRUCT(Start, (), (pipeline, params))

// Exactly one of `on`, `every` and `cron` is there.
struct NewTrigger {
  std::string name;
  std::optional<EventFilter> on;
  std::optional<std::string> every;
  std::optional<std::string> cron;  // UTC
  Start start;
  std::optional<std::string>
      cooldown;  // "1h": after a start, what comes sooner is recorded as cooling and starts nothing
};
BOOST_DESCRIBE_STRUCT(NewTrigger, (), (name, on, every, cron, start, cooldown))

struct Trigger : NewTrigger {
  bool enabled = true;
  std::int64_t cursor_seq = 0;             // events up to this one have been dealt with, or lie before its time
  std::optional<std::int64_t> next_ms;     // when a schedule is due
  std::optional<std::int64_t> started_ms;  // when it last started something
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Trigger, (NewTrigger), (enabled, cursor_seq, next_ms, started_ms, made_by, made_ms))

enum class FireKind { event, schedule, manual };
BOOST_DESCRIBE_ENUM(FireKind, event, schedule, manual)

// started: a run was queued; cooling: too soon after the last; failed: the pipeline refused it.
enum class FireOutcome { started, cooling, failed };
BOOST_DESCRIBE_ENUM(FireOutcome, started, cooling, failed)

struct Fire {
  std::int64_t number = 0;  // 1, 2, 3 … over all triggers
  std::string trigger;
  FireKind kind = FireKind::event;
  std::string cause;                      // for people; the cause of the run
  std::optional<std::int64_t> event_seq;  // of the event; at most one fire per trigger and event
  std::optional<std::int64_t> due_ms;     // of the schedule; at most one fire per trigger and moment
  std::int64_t at_ms = 0;
  FireOutcome outcome = FireOutcome::started;
  std::optional<std::string> pipeline_run;
  std::string message;  // why it started nothing
};
BOOST_DESCRIBE_STRUCT(Fire, (),
                      (number, trigger, kind, cause, event_seq, due_ms, at_ms, outcome, pipeline_run, message))

}  // namespace tidemill::triggers
