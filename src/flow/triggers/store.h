// The queries of triggers. Private to the room.
#pragma once

#include <vector>

#include "flow/triggers/types.h"
#include "storage/sql/database.h"

namespace tidemill::triggers::store {

[[nodiscard]] Result<void> put(sql::Tx& tx, const Trigger& trigger);
[[nodiscard]] Result<std::optional<Trigger>> find(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<std::vector<Trigger>> list(sql::Tx& tx);
// Adds it and returns its number; kAlreadyExists when this event or moment has fired this trigger before.
[[nodiscard]] Result<std::int64_t> insert_fire(sql::Tx& tx, const Fire& fire);
[[nodiscard]] Result<void> settle_fire(sql::Tx& tx, const Fire& fire);
// Newest first.
[[nodiscard]] Result<std::vector<Fire>> fires(sql::Tx& tx, std::string_view trigger, std::int64_t before,
                                              std::int64_t limit);
// Moves the cursors of all enabled triggers on events forward to `seq`.
[[nodiscard]] Result<void> move_cursors(sql::Tx& tx, std::int64_t seq);

}  // namespace tidemill::triggers::store
