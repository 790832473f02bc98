// Samples sorted once, shared by every statistic that needs the order.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace tidemill::statistics {

// The values of one sample in ascending order, without the missing ones.
struct SortedSample {
  std::vector<double> values;  // ascending; ±infinity may stand at the ends, never NaN; -0.0 is kept as 0.0
  std::size_t missing = 0;     // how many NaN were left out
};

// Returns `values` sorted, NaN counted as missing. O(n): least-significant-digit radix sort on the order-preserving
// image of the doubles (IEEE 754 totalOrder) from a few thousand values on, std::sort below. Pure; any thread.
[[nodiscard]] SortedSample sorted_sample(std::span<const double> values);

// Returns the q-th quantile, 0 <= q <= 1, of a non-empty ascending sample: the smallest value whose cumulative share is
// at least q (Hyndman & Fan 1996, type 1; numpy's method "inverted_cdf"), so the answer is always one of the values.
// O(1).
[[nodiscard]] double quantile_of_sorted(std::span<const double> ascending, double q);

}  // namespace tidemill::statistics
