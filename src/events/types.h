// What an event is. Everything that governance, lineage, notification and the loop itself need to know is one.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <string>

#include "base/json.h"

namespace tidemill::events {

// What a room hands in. `kind` is "<noun>.<past participle>", such as "model_versions.approved"; each room lists its
// own in its events.h. `subject` names the thing as
// "<noun>/<id or name>[/<number>]", such as "models/flight-delay/3". The payload holds facts, never secrets.
struct NewEvent {
  std::string kind;
  std::string subject;
  std::string actor;  // name of the person or service; "system" for the engine itself
  json::Object payload;
};

// What is stored and shown. `hash` = SHA-256 over the canonical JSON of all other fields, `prev_hash` included, so a
// changed, dropped or reordered event breaks the chain at its place.
struct Event {
  std::int64_t seq = 0;  // 1, 2, 3 … without a gap
  std::int64_t at_ms = 0;
  std::string kind;
  std::string subject;
  std::string actor;
  json::Object payload;
  std::string prev_hash;
  std::string hash;
};
BOOST_DESCRIBE_STRUCT(Event, (), (seq, at_ms, kind, subject, actor, payload, prev_hash, hash))

struct Filter {
  std::int64_t after_seq = 0;
  std::string kind_prefix{};     // "" = every kind
  std::string subject_prefix{};  // "" = every subject
  std::int64_t limit = 100;      // 1 to kReadMax
  bool newest_first = false;
};

struct Verification {
  bool ok = false;
  std::int64_t events = 0;      // how many were checked
  std::int64_t broken_seq = 0;  // the first that does not fit; 0 when ok
  std::string head_hash;  // write it down elsewhere: a chain that was cut at its end verifies, but has another head
  std::string message;
};
BOOST_DESCRIBE_STRUCT(Verification, (), (ok, events, broken_seq, head_hash, message))

}  // namespace tidemill::events
