// Are two samples from one distribution? Distances and tests, on values and on counts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <boost/describe.hpp>

#include "base/result.h"
#include "statistics/samples.h"

namespace tidemill::statistics {

// Everywhere: NaN is a missing value and is left out (sorted_sample counts it). Errors are kInvalidArgument. Pure; any
// thread.

struct KsTest {
  double d = 0;  // greatest distance of the two empirical distribution functions, 0..1
  double p = 1;  // two-sided
};
BOOST_DESCRIBE_STRUCT(KsTest, (), (d, p))

// Returns the two-sample Kolmogorov–Smirnov statistic and its asymptotic p: the distribution of the one-sample
// statistic at n = round(n1 n2 / (n1 + n2)), as scipy.stats.ks_2samp(method="asymp"). Ties are stepped over together,
// so D is exact with ties, while p then errs on the high side (Hodges 1958). ±infinity are values like others. O(n1 +
// n2) after sorting. Error "statistics.empty" when one sample has no value.
[[nodiscard]] Result<KsTest> ks_two_sample(const SortedSample& a, const SortedSample& b);

// Returns the first Wasserstein distance, the integral of |F - G|, in the unit of the values
// (scipy.stats.wasserstein_distance). O(n1 + n2) after sorting. Errors: a sample without a value, or an infinite value
// ("statistics.infinite").
[[nodiscard]] Result<double> wasserstein(const SortedSample& a, const SortedSample& b);

struct Chi2Test {
  double statistic = 0;
  double p = 1;
  std::int64_t degrees = 0;
};
BOOST_DESCRIBE_STRUCT(Chi2Test, (), (statistic, p, degrees))

// Returns Pearson's chi-squared test of independence for two rows of counts over the same categories, with Yates's
// correction when there is one degree of freedom, as scipy.stats.chi2_contingency. Categories that occur in neither row
// are left out (scipy refuses them); when fewer than two are left, p is 1 with 0 degrees. Errors: different lengths, a
// negative or non-finite count, a row without any count. O(k).
[[nodiscard]] Result<Chi2Test> chi2_two_sample(std::span<const double> counts_a, std::span<const double> counts_b);

// Returns the Jensen–Shannon distance (Endres & Schindelin 2003): the square root of the divergence in nats, so
// 0..sqrt(ln 2), as scipy.spatial.distance.jensenshannon. Counts are made shares first. Errors as chi2_two_sample.
// O(k).
[[nodiscard]] Result<double> jensen_shannon(std::span<const double> counts_a, std::span<const double> counts_b);

struct Psi {
  double value = 0;
  double no_drift = 0;  // what sampling alone is expected to give: (k - 1)(1/n + 1/m)
  double p = 1;         // of a value at least so large by sampling alone
};
BOOST_DESCRIBE_STRUCT(Psi, (), (value, no_drift, p))

// Returns the population stability index, sum of (a - b) ln(a / b) over the shares of each bin. Zeros: half a row is
// added to every bin of both samples before the shares are taken (Krichevsky–Trofimov), so an empty bin costs what its
// absence proves and no more; with a thousand rows a bin this changes nothing that is shown. Bins empty in both are
// left out. `no_drift` and `p` from PSI / (1/n + 1/m) being chi-squared with k - 1 degrees without drift (Yurdakul
// 2018): the customary limits 0.1 and 0.25 mean nothing for small samples, p does. Errors as chi2_two_sample. O(k).
[[nodiscard]] Result<Psi> psi(std::span<const double> counts_before, std::span<const double> counts_now);

}  // namespace tidemill::statistics
