// What columns look like. Private.
#pragma once

#include <filesystem>
#include <vector>

#include "base/result.h"
#include "flow/datasets/types.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

// Returns the profile of all rows of the Parquet files, which have exactly this schema. Quantiles are exact (linear
// between neighbours) of columns with few distinct values and of tables with at most kExactCellsMax numbers, else by
// t-digest (Dunning & Ertl 2019).
[[nodiscard]] Result<Profile> make_profile(tables::Tables& tables, const std::vector<std::filesystem::path>& files,
                                           const std::vector<ColumnType>& schema, std::int64_t rows);

constexpr std::int64_t kExactCellsMax = 50'000'000;

}  // namespace tidemill::datasets
