// Kinds of events that this room emits. Rows that are handed in are bulk, not events.
#pragma once

#include <string_view>

namespace tidemill::features::events_of {

constexpr std::string_view kViewDefined =
    "features.view_defined";  // subject features/<view>/<number>; digest, datasets
constexpr std::string_view kMaterialized = "features.materialized";  // subject features/<view>/<number>; sources

}  // namespace tidemill::features::events_of
