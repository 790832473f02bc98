#include "statistics/classification.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "statistics/checks.h"
#include "statistics/distributions.h"

namespace tidemill::statistics {
namespace {

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

Result<Estimate> brier(std::span<const double> probabilities, std::span<const std::uint8_t> labels, double confidence) {
  TM_CHECK(check_confidence(confidence));
  TM_CHECK(check_labels(probabilities, labels));
  TM_CHECK(check_probabilities(probabilities));
  const auto n = static_cast<double>(probabilities.size());
  const auto squared_error = [&](std::size_t i) {
    const double difference = probabilities[i] - labels[i];
    return difference * difference;
  };
  Sum total;
  for (std::size_t i = 0; i < probabilities.size(); ++i) total.add(squared_error(i));
  const double value = total.value() / n;
  Estimate estimate{value, std::numeric_limits<double>::quiet_NaN(), 0, 1};
  if (probabilities.size() < 2) return estimate;

  Sum spread;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double deviation = squared_error(i) - value;
    spread.add(deviation * deviation);
  }
  estimate.variance = spread.value() / (n - 1) / n;
  const double half = normal_quantile((1 + confidence) / 2) * std::sqrt(estimate.variance);
  estimate.low = std::max(0.0, value - half);
  estimate.high = std::min(1.0, value + half);
  return estimate;
}

Result<double> log_loss(std::span<const double> probabilities, std::span<const std::uint8_t> labels) {
  TM_CHECK(check_labels(probabilities, labels));
  TM_CHECK(check_probabilities(probabilities));
  constexpr double kEdge = std::numeric_limits<double>::epsilon();
  Sum total;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double p = std::clamp(probabilities[i], kEdge, 1 - kEdge);
    total.add(labels[i] != 0 ? -std::log(p) : -std::log(1 - p));
  }
  return total.value() / static_cast<double>(probabilities.size());
}

Result<Confusion> confusion(std::span<const double> probabilities, std::span<const std::uint8_t> labels,
                            double threshold) {
  TM_CHECK(check_labels(probabilities, labels));
  TM_CHECK(check_probabilities(probabilities));
  Confusion counts;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const bool called = probabilities[i] >= threshold;
    if (labels[i] != 0) {
      ++(called ? counts.true_positives : counts.false_negatives);
    } else {
      ++(called ? counts.false_positives : counts.true_negatives);
    }
  }
  return counts;
}

double Confusion::accuracy() const {
  return share(true_positives + true_negatives, true_positives + true_negatives + false_positives + false_negatives);
}
double Confusion::precision() const { return share(true_positives, true_positives + false_positives); }
double Confusion::recall() const { return share(true_positives, true_positives + false_negatives); }
double Confusion::f1() const {
  return share(2 * true_positives, 2 * true_positives + false_positives + false_negatives);
}

}  // namespace tidemill::statistics
