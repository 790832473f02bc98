#include "events/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/hash.h"
#include "base/json.h"
#include "events/schema.sql.h"
#include "events/verify.h"

namespace tidemill::events {
namespace {

constexpr sql::Query kLast{"events.last", "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"};
constexpr sql::Query kInsert{"events.insert",
                             "INSERT INTO events (seq, at_ms, kind, subject, actor, payload, prev_hash, hash)"
                             " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"};
// A prefix is matched as a range, which the indexes serve; ?5 is the first text after all that start with it.
constexpr sql::Query kReadForward{
    "events.read_forward",
    "SELECT seq, at_ms, kind, subject, actor, payload, prev_hash, hash FROM events WHERE seq > ?1"
    " AND kind >= ?2 AND kind < ?3 AND subject >= ?4 AND subject < ?5 ORDER BY seq LIMIT ?6"};
constexpr sql::Query kReadBackward{
    "events.read_backward",
    "SELECT seq, at_ms, kind, subject, actor, payload, prev_hash, hash FROM events WHERE seq > ?1"
    " AND kind >= ?2 AND kind < ?3 AND subject >= ?4 AND subject < ?5 ORDER BY seq DESC LIMIT ?6"};
constexpr sql::Query kReadAll{
    "events.read_all", "SELECT seq, at_ms, kind, subject, actor, payload, prev_hash, hash FROM events ORDER BY seq"};

struct Head {
  std::int64_t seq = 0;
  std::string hash;
};

// What the first event names as its predecessor: the hash of nothing.
std::string genesis_hash() { return std::string(64, '0'); }

std::string chain_hash(const Event& event, std::string_view payload) {
  // The payload goes in as the text that is stored, so that checking needs no JSON reader to agree with ours.
  const json::Array fields{event.seq,   event.at_ms,          event.kind,     event.subject,
                           event.actor, json::Value(payload), event.prev_hash};
  return sha256_hex(json::canonical(fields));
}

struct Stored {
  Event event;
  std::string payload;
};

Stored read_stored(const sql::Row& row) {
  Stored stored;
  stored.event = Event{row.integer(0), row.integer(1), row.string(2), row.string(3), row.string(4), {},
                       row.string(6),  row.string(7)};
  stored.payload = row.string(5);
  return stored;
}

Event read_event(const sql::Row& row) {
  Stored stored = read_stored(row);
  if (auto payload = json::parse(stored.payload); payload && payload->is_object()) {
    stored.event.payload = payload->get_object();
  }
  return std::move(stored.event);
}

// Returns the smallest text greater than every text that starts with `prefix`. Kinds and subjects are ASCII, or at
// least UTF-8, so no byte of theirs is 0xFF.
std::string end_of_prefix(std::string_view prefix) { return std::string(prefix) + '\xFF'; }

}  // namespace

Result<std::unique_ptr<Events>> Events::create(sql::Database& database, const Clock& clock) {
  TM_CHECK(database.migrate("events", kSchemaSql));
  std::unique_ptr<Events> events(new Events(database, clock));
  const auto head = TM_TRY(database.read([](sql::Tx& tx) { return tx.integer(kLast, 0); }));
  events->head_seq_ = head;
  return events;
}

Result<std::int64_t> Events::append(sql::Tx& tx, NewEvent event) {
  const std::string payload = json::canonical(event.payload);
  if (payload.size() > kPayloadBytesMax) {
    return fail(
        Code::kTooLarge, "events.payload_too_large",
        fmt::format("The payload of {} has {} bytes; the limit is {}.", event.kind, payload.size(), kPayloadBytesMax),
        "Store the large part as an artefact and name its digest.");
  }
  const auto head = TM_TRY(tx.one<Head>(kLast, [](const sql::Row& row) {
    return Head{row.integer(0), row.string(1)};
  }));
  Event stored;
  stored.seq = head ? head->seq + 1 : 1;
  stored.at_ms = clock_.now_ms();
  stored.kind = std::move(event.kind);
  stored.subject = std::move(event.subject);
  stored.actor = std::move(event.actor);
  stored.prev_hash = head ? head->hash : genesis_hash();
  stored.hash = chain_hash(stored, payload);
  TM_CHECK(tx.exec(kInsert, stored.seq, stored.at_ms, stored.kind, stored.subject, stored.actor, payload,
                   stored.prev_hash, stored.hash));
  tx.after_commit([this, seq = stored.seq] { committed(seq); });
  return stored.seq;
}

Result<std::vector<Event>> Events::read(const Filter& filter) {
  return database_.read([&](sql::Tx& tx) { return read(tx, filter); });
}

Result<std::vector<Event>> Events::read(sql::Tx& tx, const Filter& filter) {
  if (filter.limit < 1 || filter.limit > kReadMax) {
    return fail(Code::kInvalidArgument, "events.bad_limit", fmt::format("The limit {} is out of range.", filter.limit),
                fmt::format("Ask for 1 to {} events.", kReadMax));
  }
  return tx.all<Event>(filter.newest_first ? kReadBackward : kReadForward, read_event, filter.after_seq,
                       filter.kind_prefix, end_of_prefix(filter.kind_prefix), filter.subject_prefix,
                       end_of_prefix(filter.subject_prefix), filter.limit);
}

Result<Verification> verify(sql::Tx& tx) {
  Verification verdict;
  verdict.head_hash = genesis_hash();
  std::string fault;
  TM_CHECK(tx.each(kReadAll, [&](const sql::Row& row) {
    if (!fault.empty()) return;
    const Stored stored = read_stored(row);
    const std::int64_t expected_seq = verdict.events + 1;
    if (stored.event.seq != expected_seq) {
      fault = fmt::format("Event {} is missing.", expected_seq);
      verdict.broken_seq = expected_seq;
    } else if (stored.event.prev_hash != verdict.head_hash) {
      fault = fmt::format("Event {} does not follow the event before it.", expected_seq);
      verdict.broken_seq = expected_seq;
    } else if (stored.event.hash != chain_hash(stored.event, stored.payload)) {
      fault = fmt::format("Event {} was changed after it was written.", expected_seq);
      verdict.broken_seq = expected_seq;
    } else {
      verdict.events = expected_seq;
      verdict.head_hash = stored.event.hash;
    }
  }));
  verdict.ok = fault.empty();
  verdict.message = verdict.ok ? fmt::format("{} events, every one in its place.", verdict.events) : fault;
  return verdict;
}

Result<Verification> Events::verify() {
  return database_.read([](sql::Tx& tx) { return events::verify(tx); });
}

std::int64_t Events::wait_past(std::int64_t after_seq, std::int64_t wait_ms) {
  std::unique_lock lock(mutex_);
  moved_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return closed_ || head_seq_ > after_seq; });
  return head_seq_;
}

void Events::on_commit(std::function<void(std::int64_t)> callback) { callbacks_.push_back(std::move(callback)); }

void Events::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  moved_.notify_all();
}

void Events::committed(std::int64_t seq) {
  {
    const std::lock_guard lock(mutex_);
    head_seq_ = std::max(head_seq_, seq);
  }
  moved_.notify_all();
  for (const auto& callback : callbacks_) callback(seq);
}

}  // namespace tidemill::events
