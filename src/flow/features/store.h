// The room's tables and their queries. Private to the room.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/features/types.h"
#include "storage/sql/database.h"

namespace tidemill::features {

// Splits "name" or "name@number"; the number is nothing for the newest. kInvalidArgument for any other form.
struct ViewName {
  std::string name;
  std::optional<std::int64_t> number;
};
[[nodiscard]] Result<ViewName> parse_view_name(std::string_view text);

[[nodiscard]] Result<void> insert_view(sql::Tx& tx, const View& view);
// Returns the view, or kNotFound "features.unknown".
[[nodiscard]] Result<View> get_view(sql::Tx& tx, const ViewName& name);
[[nodiscard]] Result<std::optional<View>> newest_view(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<std::vector<View>> newest_views(sql::Tx& tx);
[[nodiscard]] Result<std::vector<View>> all_views(sql::Tx& tx);
[[nodiscard]] Result<std::vector<View>> view_versions(sql::Tx& tx, std::string_view name);

// Notes that the view was loaded from these versions.
[[nodiscard]] Result<void> put_materialized(sql::Tx& tx, const Materialized& materialized, std::int64_t at_ms);
// Returns "name@number" of every view that was materialized.
[[nodiscard]] Result<std::vector<std::string>> materialized_views(sql::Tx& tx);

}  // namespace tidemill::features
