#include "jobs/store.h"

namespace tidemill::jobs::store {
namespace {

constexpr sql::Query kInsert{"jobs.insert",
                             "INSERT INTO jobs (id, kind, key, payload, state, attempts_max, not_before_ms, created_ms)"
                             " VALUES (?1, ?2, ?3, ?4, 'queued', ?5, ?6, ?7)"};
constexpr sql::Query kFind{"jobs.find",
                           "SELECT id, kind, key, payload, state, fence, failures, attempts_max, not_before_ms, "
                           "created_ms, finished_ms, error, result"
                           " FROM jobs WHERE id = ?1"};
constexpr sql::Query kTake{
    "jobs.take",
    "UPDATE jobs SET state = 'running', fence = fence + 1, owner = ?1, lease_until_ms = ?3 WHERE id ="
    " (SELECT id FROM jobs WHERE state = 'queued' AND not_before_ms <= ?2 AND kind NOT IN (SELECT value FROM "
    "json_each(?4)) ORDER BY not_before_ms, id LIMIT 1)"
    " RETURNING id, kind, key, payload, state, fence, failures, attempts_max, not_before_ms, created_ms, finished_ms,"
    " error, result"};
constexpr sql::Query kIsHeld{"jobs.is_held", "SELECT 1 FROM jobs WHERE id = ?1 AND fence = ?2 AND state = 'running'"};
constexpr sql::Query kCancelAsked{"jobs.cancel_asked", "SELECT cancel_asked FROM jobs WHERE id = ?1"};
constexpr sql::Query kSettle{
    "jobs.settle",
    "UPDATE jobs SET state = ?2, failures = ?3, not_before_ms = ?4, finished_ms = ?5, error = ?6, result = ?7,"
    " owner = '' WHERE id = ?1"};
constexpr sql::Query kAskCancel{"jobs.ask_cancel", "UPDATE jobs SET cancel_asked = 1 WHERE id = ?1"};
constexpr sql::Query kTakeBack{"jobs.take_back",
                               "UPDATE jobs SET state = 'queued', owner = '' WHERE state = 'running' AND owner <> ?1"};
constexpr sql::Query kRenew{"jobs.renew", "UPDATE jobs SET lease_until_ms = ?2 WHERE state = 'running' AND owner = ?1"};
constexpr sql::Query kCountQueued{"jobs.count_queued", "SELECT count(*) FROM jobs WHERE state = 'queued'"};
constexpr sql::Query kCountRunning{"jobs.count_running", "SELECT count(*) FROM jobs WHERE state = 'running'"};
constexpr sql::Query kDeleteFinished{"jobs.delete_finished",
                                     "DELETE FROM jobs WHERE finished_ms IS NOT NULL AND finished_ms < ?1"};
constexpr sql::Query kFindSchedule{"jobs.find_schedule", "SELECT rule, next_ms FROM job_schedules WHERE name = ?1"};
constexpr sql::Query kPutSchedule{"jobs.put_schedule",
                                  "INSERT INTO job_schedules (name, rule, next_ms, fired_ms) VALUES (?1, ?2, ?3, ?4)"
                                  " ON CONFLICT (name) DO UPDATE SET rule = excluded.rule, next_ms = excluded.next_ms,"
                                  " fired_ms = coalesce(excluded.fired_ms, fired_ms)"};

// Our own table holds what we wrote; a damaged row reads as an empty object rather than stopping the queue.
json::Object object_of(std::string_view text) {
  auto value = json::decode<json::Object>(text);
  return value ? *std::move(value) : json::Object{};
}

Job read_job(const sql::Row& row) {
  return {row.id<JobId>(0),
          row.string(1),
          row.string(2),
          object_of(row.text(3)),
          row.enumerator<JobState>(4),
          row.integer(5),
          row.integer(6),
          row.integer(7),
          row.integer(8),
          row.integer(9),
          row.maybe_integer(10),
          row.string(11),
          object_of(row.text(12))};
}

}  // namespace

Result<void> insert(sql::Tx& tx, const Job& job) {
  TM_CHECK(tx.exec(kInsert, job.id, job.kind, job.key, json::serialize(job.payload), job.attempts_max,
                   job.not_before_ms, job.created_ms));
  return {};
}

Result<std::optional<Job>> find(sql::Tx& tx, const JobId& id) { return tx.one<Job>(kFind, read_job, id); }

Result<std::optional<Job>> take(sql::Tx& tx, std::string_view owner, std::int64_t now_ms, std::int64_t lease_until_ms,
                                const json::Array& kinds_left_out) {
  return tx.one<Job>(kTake, read_job, owner, now_ms, lease_until_ms, json::serialize(kinds_left_out));
}

Result<bool> is_held(sql::Tx& tx, const JobId& id, std::int64_t fence) {
  return TM_TRY(tx.integer(kIsHeld, 0, id, fence)) == 1;
}

Result<bool> cancel_asked(sql::Tx& tx, const JobId& id) { return TM_TRY(tx.integer(kCancelAsked, 0, id)) == 1; }

Result<void> settle(sql::Tx& tx, const JobId& id, const Outcome& outcome) {
  TM_CHECK(tx.exec(kSettle, id, outcome.state, outcome.failures, outcome.not_before_ms, outcome.finished_ms,
                   outcome.error, json::serialize(outcome.result)));
  return {};
}

Result<void> ask_cancel(sql::Tx& tx, const JobId& id) {
  TM_CHECK(tx.exec(kAskCancel, id));
  return {};
}

Result<std::int64_t> take_back_others(sql::Tx& tx, std::string_view owner) { return tx.exec(kTakeBack, owner); }

Result<void> renew(sql::Tx& tx, std::string_view owner, std::int64_t lease_until_ms) {
  TM_CHECK(tx.exec(kRenew, owner, lease_until_ms));
  return {};
}

Result<std::int64_t> count_queued(sql::Tx& tx) { return tx.integer(kCountQueued, 0); }

Result<std::int64_t> count_live(sql::Tx& tx) {
  return TM_TRY(tx.integer(kCountQueued, 0)) + TM_TRY(tx.integer(kCountRunning, 0));
}

Result<void> delete_finished_before(sql::Tx& tx, std::int64_t before_ms) {
  TM_CHECK(tx.exec(kDeleteFinished, before_ms));
  return {};
}

Result<std::optional<Due>> find_schedule(sql::Tx& tx, std::string_view name) {
  return tx.one<Due>(
      kFindSchedule,
      [](const sql::Row& row) {
        return Due{row.string(0), row.integer(1)};
      },
      name);
}

Result<void> put_schedule(sql::Tx& tx, std::string_view name, const Due& due, std::optional<std::int64_t> fired_ms) {
  TM_CHECK(tx.exec(kPutSchedule, name, due.rule, due.next_ms, fired_ms));
  return {};
}

}  // namespace tidemill::jobs::store
