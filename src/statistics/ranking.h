// How well scores order two classes: AUC with DeLong's variance, and the paired test of two models on the same rows.
#pragma once

#include <cstdint>
#include <span>

#include <boost/describe.hpp>

#include "base/result.h"

namespace tidemill::statistics {

// An estimate with its confidence interval, clipped to where the quantity can lie.
struct Estimate {
  double value = 0;
  double variance = 0;  // of the estimate; NaN when the sample is too small to tell
  double low = 0;
  double high = 0;
};
BOOST_DESCRIBE_STRUCT(Estimate, (), (value, variance, low, high))

struct Auc {
  Estimate estimate;
  std::int64_t positives = 0;
  std::int64_t negatives = 0;
};

struct AucDifference {
  Estimate difference;  // of a minus b, within -1..1
  double z = 0;         // difference / its standard error; 0 when both are 0
  double p = 1;         // two-sided, of "both models order equally well"
};

// Returns the area under the ROC curve: the share of (positive, negative) pairs in which the positive scores higher, a
// tie counting one half (Mann–Whitney U / (m n); equal to sklearn.metrics.roc_auc_score), with the variance of DeLong,
// DeLong & Clarke-Pearson (1988) computed as in Sun & Xu (2014) from two sorted samples, and a Wald interval at
// `confidence`, clipped to 0..1. O(n log n) at most, O(n) memory. `labels` holds 0 and 1; `scores` may be ±infinity.
// Errors (kInvalidArgument): different lengths, no rows, a NaN score, another label, or only one class
// ("statistics.one_class"). With fewer than two rows of a class the variance is NaN and the interval 0..1. Pure; any
// thread.
[[nodiscard]] Result<Auc> auc(std::span<const double> scores, std::span<const std::uint8_t> labels,
                              double confidence = 0.95);

// Returns auc(a) - auc(b) on the same rows, with DeLong's covariance of the two (they are correlated: testing them as
// independent would be too timid), interval and two-sided p (normal). Errors as auc(). O(n log n). Pure; any thread.
[[nodiscard]] Result<AucDifference> auc_difference(std::span<const double> scores_a, std::span<const double> scores_b,
                                                   std::span<const std::uint8_t> labels, double confidence = 0.95);

// Returns the greatest distance between the score distributions of the two classes, 0..1: the "KS" of credit scoring.
// Errors as auc().
[[nodiscard]] Result<double> class_separation(std::span<const double> scores, std::span<const std::uint8_t> labels);

}  // namespace tidemill::statistics
