// The tables of monitors. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/monitors/types.h"
#include "storage/sql/database.h"

namespace tidemill::monitors {

struct StoredMonitor {
  Monitor monitor;
  std::optional<std::int64_t> next_start_ms;
};

[[nodiscard]] Result<void> insert_monitor(sql::Tx& tx, const Monitor& monitor);
[[nodiscard]] Result<std::vector<StoredMonitor>> all_monitors(sql::Tx& tx);
[[nodiscard]] Result<std::optional<StoredMonitor>> find_monitor(sql::Tx& tx, std::string_view name);
// Moves the beginning of the open window from `from` to `to`; returns false when somebody else has moved it already.
[[nodiscard]] Result<bool> move_next_start(sql::Tx& tx, std::string_view name, std::optional<std::int64_t> from,
                                           std::int64_t to);
[[nodiscard]] Result<void> insert_window(sql::Tx& tx, const Window& window);
// Oldest first.
[[nodiscard]] Result<std::vector<Window>> all_windows(sql::Tx& tx, std::string_view monitor);

}  // namespace tidemill::monitors
