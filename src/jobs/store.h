// The queries of jobs. Private to the room.
#pragma once

#include <optional>

#include "jobs/types.h"
#include "storage/sql/database.h"

namespace tidemill::jobs::store {

// How a running job leaves its holder's hands.
struct Outcome {
  JobState state = JobState::succeeded;
  std::int64_t failures = 0;
  std::int64_t not_before_ms = 0;
  std::optional<std::int64_t> finished_ms;
  std::string error;
  json::Object result;
};

[[nodiscard]] Result<void> insert(sql::Tx& tx, const Job& job);
[[nodiscard]] Result<std::optional<Job>> find(sql::Tx& tx, const JobId& id);
// Takes the job that has been due longest, but none of the kinds left out, with a new fence; nothing when none is due.
[[nodiscard]] Result<std::optional<Job>> take(sql::Tx& tx, std::string_view owner, std::int64_t now_ms,
                                              std::int64_t lease_until_ms, const json::Array& kinds_left_out);
[[nodiscard]] Result<bool> is_held(sql::Tx& tx, const JobId& id, std::int64_t fence);
[[nodiscard]] Result<bool> cancel_asked(sql::Tx& tx, const JobId& id);
[[nodiscard]] Result<void> settle(sql::Tx& tx, const JobId& id, const Outcome& outcome);
[[nodiscard]] Result<void> ask_cancel(sql::Tx& tx, const JobId& id);
[[nodiscard]] Result<std::int64_t> take_back_others(sql::Tx& tx, std::string_view owner);
[[nodiscard]] Result<void> renew(sql::Tx& tx, std::string_view owner, std::int64_t lease_until_ms);
[[nodiscard]] Result<std::int64_t> count_queued(sql::Tx& tx);
[[nodiscard]] Result<std::int64_t> count_live(sql::Tx& tx);
[[nodiscard]] Result<void> delete_finished_before(sql::Tx& tx, std::int64_t before_ms);

struct Due {
  std::string rule;
  std::int64_t next_ms = 0;
};
[[nodiscard]] Result<std::optional<Due>> find_schedule(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<void> put_schedule(sql::Tx& tx, std::string_view name, const Due& due,
                                        std::optional<std::int64_t> fired_ms);

}  // namespace tidemill::jobs::store
