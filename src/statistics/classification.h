// How good predicted probabilities of the positive class are.
#pragma once

#include <cstdint>
#include <span>

#include <boost/describe.hpp>

#include "base/result.h"
#include "statistics/ranking.h"

namespace tidemill::statistics {

// For all of these: `labels` holds 0 and 1, `probabilities` lie in 0..1. Errors (kInvalidArgument): different lengths,
// no rows, another label, a probability that is NaN or outside 0..1, each with the row. O(n), no copies; sums are
// compensated (Neumaier 1974). Pure; any thread.

// Returns the mean squared difference of probability and label (Brier 1950; sklearn.metrics.brier_score_loss), with the
// interval of a mean (normal, sample variance; the variance is NaN and the interval 0..1 for a single row).
[[nodiscard]] Result<Estimate> brier(std::span<const double> probabilities, std::span<const std::uint8_t> labels,
                                     double confidence = 0.95);

// Returns the mean of -ln(probability given to what happened), probabilities clipped to 2.2e-16 .. 1 - 2.2e-16 so that
// a sure mistake costs 36.04 instead of infinity, as sklearn.metrics.log_loss does.
[[nodiscard]] Result<double> log_loss(std::span<const double> probabilities, std::span<const std::uint8_t> labels);

// What happens when everything with probability >= threshold is called positive.
struct Confusion {
  std::int64_t true_positives = 0;
  std::int64_t false_positives = 0;
  std::int64_t true_negatives = 0;
  std::int64_t false_negatives = 0;

  [[nodiscard]] double accuracy() const;   // share of all rows that are called rightly
  [[nodiscard]] double precision() const;  // of those called positive; 0 when none is (sklearn's zero_division=0)
  [[nodiscard]] double recall() const;     // of the positives; 0 when there are none
  [[nodiscard]] double f1() const;         // harmonic mean of the two; 0 when both are
};
BOOST_DESCRIBE_STRUCT(Confusion, (), (true_positives, false_positives, true_negatives, false_negatives))

// Returns the counts at `threshold`. A probability equal to it is called positive.
[[nodiscard]] Result<Confusion> confusion(std::span<const double> probabilities, std::span<const std::uint8_t> labels,
                                          double threshold);

}  // namespace tidemill::statistics
