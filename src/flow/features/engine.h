// The one computation behind training sets and online answers. Private to the room.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "flow/features/memory.h"
#include "flow/features/plan.h"
#include "storage/tables/frame.h"

namespace tidemill::features {

// Returns the columns of the view, a row for each of `request`, in order; `at_ms` has the time of each row. `sources`
// are in the order of the plan's. Request columns that are absent, and missing cells, are missing values. Pure: any
// number of threads, as long as nobody changes `sources`. O(features · log rows of the key) a row.
[[nodiscard]] Result<tables::Frame> compute(const Plan& plan, std::span<const SourceMemory* const> sources,
                                            const tables::Frame& request, std::span<const std::int64_t> at_ms);

}  // namespace tidemill::features
