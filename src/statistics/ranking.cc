#include "statistics/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "statistics/checks.h"
#include "statistics/distributions.h"
#include "statistics/samples.h"

namespace tidemill::statistics {
namespace {

struct Classes {
  std::vector<double> positives;
  std::vector<double> negatives;
};

Result<Classes> split(std::span<const double> scores, std::span<const std::uint8_t> labels) {
  TM_CHECK(check_labels(scores, labels));
  TM_CHECK(check_not_nan(scores));
  Classes classes;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    (labels[i] != 0 ? classes.positives : classes.negatives).push_back(scores[i]);
  }
  if (classes.positives.empty() || classes.negatives.empty()) {
    return fail(Code::kInvalidArgument, "statistics.one_class",
                "All " + std::to_string(scores.size()) + " labels are " + (classes.positives.empty() ? "0." : "1."),
                "A ranking needs rows of both classes; take a longer window.");
  }
  return classes;
}

// Sum of squares of deviations from the mean, in units where the mean is exactly known.
struct Spread {
  Sum squares;
  double count = 0;

  void add(double deviation, double times) {
    squares.add(deviation * deviation * times);
    count += times;
  }
  // The share of the mean's variance that this class brings.
  [[nodiscard]] double variance_of_mean() const {
    return count < 2 ? std::numeric_limits<double>::quiet_NaN() : squares.value() / (count - 1) / count;
  }
};

// Walks two ascending samples in groups of equal values: visit(value's count in a, count in b, how many of a, of b came
// before).
template <class Visit>
void walk_groups(const std::vector<double>& a, const std::vector<double>& b, Visit&& visit) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() || j < b.size()) {
    const double value = j >= b.size() || (i < a.size() && a[i] <= b[j]) ? a[i] : b[j];
    std::size_t in_a = 0;
    std::size_t in_b = 0;
    while (i + in_a < a.size() && a[i + in_a] == value) ++in_a;
    while (j + in_b < b.size() && b[j + in_b] == value) ++in_b;
    visit(static_cast<double>(in_a), static_cast<double>(in_b), static_cast<double>(i), static_cast<double>(j));
    i += in_a;
    j += in_b;
  }
}

Estimate with_interval(double value, double variance, double confidence, double low, double high) {
  Estimate estimate{value, variance, low, high};
  if (!std::isnan(variance)) {
    const double half = normal_quantile((1 + confidence) / 2) * std::sqrt(variance);
    estimate.low = std::max(low, value - half);
    estimate.high = std::min(high, value + half);
  }
  return estimate;
}

// For each of `values`, the share of the ascending `others` that it beats, ties one half.
std::vector<double> placements(const std::vector<double>& values, const std::vector<double>& others) {
  std::vector<double> shares;
  shares.reserve(values.size());
  for (const double value : values) {
    const auto [first, last] = std::equal_range(others.begin(), others.end(), value);
    shares.push_back((static_cast<double>(first - others.begin()) + static_cast<double>(last - first) / 2) /
                     static_cast<double>(others.size()));
  }
  return shares;
}

double mean(const std::vector<double>& values) {
  Sum sum;
  for (const double value : values) sum.add(value);
  return sum.value() / static_cast<double>(values.size());
}

// Variance of the mean of a - b.
double variance_of_mean_difference(const std::vector<double>& a, const std::vector<double>& b) {
  const double centre = mean(a) - mean(b);
  Spread spread;
  for (std::size_t i = 0; i < a.size(); ++i) spread.add(a[i] - b[i] - centre, 1);
  return spread.variance_of_mean();
}

}  // namespace

Result<Auc> auc(std::span<const double> scores, std::span<const std::uint8_t> labels, double confidence) {
  TM_CHECK(check_confidence(confidence));
  const Classes classes = TM_TRY(split(scores, labels));
  const std::vector<double> up = sorted_sample(classes.positives).values;
  const std::vector<double> down = sorted_sample(classes.negatives).values;
  const auto m = static_cast<double>(up.size());
  const auto n = static_cast<double>(down.size());

  Sum wins;  // pairs won by the positive
  walk_groups(up, down, [&](double in_up, double in_down, double, double down_before) {
    wins.add(in_up * (down_before + in_down / 2));
  });
  const double value = wins.value() / (m * n);

  Spread of_up;
  Spread of_down;
  walk_groups(up, down, [&](double in_up, double in_down, double up_before, double down_before) {
    if (in_up > 0) of_up.add((down_before + in_down / 2) / n - value, in_up);
    if (in_down > 0) of_down.add((m - up_before - in_up / 2) / m - value, in_down);
  });
  const double variance = of_up.variance_of_mean() + of_down.variance_of_mean();
  return Auc{with_interval(value, variance, confidence, 0, 1), static_cast<std::int64_t>(up.size()),
             static_cast<std::int64_t>(down.size())};
}

Result<AucDifference> auc_difference(std::span<const double> scores_a, std::span<const double> scores_b,
                                     std::span<const std::uint8_t> labels, double confidence) {
  TM_CHECK(check_confidence(confidence));
  const Classes a = TM_TRY(split(scores_a, labels));
  const Classes b = TM_TRY(split(scores_b, labels));
  const auto up_a = placements(a.positives, sorted_sample(a.negatives).values);
  const auto up_b = placements(b.positives, sorted_sample(b.negatives).values);
  const auto down_a = placements(a.negatives, sorted_sample(a.positives).values);
  const auto down_b = placements(b.negatives, sorted_sample(b.positives).values);

  const double value = mean(up_a) - mean(up_b);
  // The placements of negatives fall where those of positives rise; the sign does not matter to the variance.
  const double variance = variance_of_mean_difference(up_a, up_b) + variance_of_mean_difference(down_a, down_b);
  AucDifference result{with_interval(value, variance, confidence, -1, 1)};
  if (variance > 0) {
    result.z = value / std::sqrt(variance);
    result.p = normal_two_sided_p(result.z);
  } else if (variance == 0 && value != 0) {
    result.z = std::copysign(std::numeric_limits<double>::infinity(), value);
    result.p = 0;
  }
  return result;
}

Result<double> class_separation(std::span<const double> scores, std::span<const std::uint8_t> labels) {
  const Classes classes = TM_TRY(split(scores, labels));
  const std::vector<double> up = sorted_sample(classes.positives).values;
  const std::vector<double> down = sorted_sample(classes.negatives).values;
  double widest = 0;
  walk_groups(up, down, [&](double in_up, double in_down, double up_before, double down_before) {
    const double share_up = (up_before + in_up) / static_cast<double>(up.size());
    const double share_down = (down_before + in_down) / static_cast<double>(down.size());
    widest = std::max(widest, std::abs(share_up - share_down));
  });
  return widest;
}

}  // namespace tidemill::statistics
