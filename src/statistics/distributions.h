// Tails of the distributions that the tests need.
#pragma once

#include <cstdint>

namespace tidemill::statistics {

// Returns x with P(N(0,1) <= x) = probability, 0 < probability < 1.
[[nodiscard]] double normal_quantile(double probability);

// Returns P(|N(0,1)| >= |z|).
[[nodiscard]] double normal_two_sided_p(double z);

// Returns P(chi-squared with `degrees` >= statistic); 1 for statistic <= 0.
[[nodiscard]] double chi2_survival(double statistic, double degrees);

// Returns P(D_n >= d) of the two-sided one-sample Kolmogorov–Smirnov statistic, n >= 1. Which of the known forms is
// used where follows Simard & L'Ecuyer (2011): exact ends (Ruben & Gambino 1982), Marsaglia, Tsang & Wang's matrix
// (2003) while it is small, twice the one-sided tail of Birnbaum & Tingey (1951) where D is so large that both sides
// exclude each other, and the expansion of Pelz & Good (1976) for the rest, which errs by 1e-6 at n = 141 and less
// beyond. O(n) or better, but for the matrix: k^3 log n with k < 60. Equal to scipy.stats.kstwo.sf to 8 digits.
[[nodiscard]] double kolmogorov_survival(std::int64_t n, double d);

}  // namespace tidemill::statistics
