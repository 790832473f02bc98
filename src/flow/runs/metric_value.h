// A double as an integer that sorts like it, so that a table can keep every bit of it and an index can order it.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tidemill::runs {

// Returns the sortable form: -inf < … < -0.0 < 0.0 < … < inf < NaN. Every NaN becomes one, since JSON, the only way in,
// has no payloads. from_sortable gives the same bits back. (Flipping the lower 63 bits of negative numbers turns
// IEEE 754's sign and magnitude into two's complement order.)
[[nodiscard]] constexpr std::int64_t to_sortable(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value != value ? std::numeric_limits<double>::quiet_NaN() : value);
  return bits >= 0 ? bits : bits ^ std::numeric_limits<std::int64_t>::max();
}

[[nodiscard]] constexpr double from_sortable(std::int64_t sortable) {
  return std::bit_cast<double>(sortable >= 0 ? sortable : sortable ^ std::numeric_limits<std::int64_t>::max());
}

constexpr std::int64_t kSortableNan = to_sortable(std::numeric_limits<double>::quiet_NaN());

}  // namespace tidemill::runs
