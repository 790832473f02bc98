// What a feature looked like in training, small enough to travel with the model, and how far today's values are from
// it.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/enums.h"
#include "base/result.h"
#include "statistics/samples.h"

namespace tidemill::statistics {

constexpr std::size_t kBins = 10;        // deciles, the custom of PSI
constexpr std::size_t kQuantiles = 256;  // kept of each number: KS against them errs by at most 1/512
constexpr std::string_view kScoreFeature = "score";

enum class FeatureKind { number, category };
BOOST_DESCRIBE_ENUM(FeatureKind, number, category)

struct FeatureBaseline {
  using json_defaults = void;
  std::string feature;
  FeatureKind kind = FeatureKind::number;
  std::int64_t rows = 0;  // missing ones included
  std::int64_t missing = 0;
  std::vector<double> edges;         // number: inner edges, ascending, distinct; bin i holds edges[i-1] < x <= edges[i]
  std::vector<std::int64_t> counts;  // number: edges + 1 bins; category: one per category, then one for all others
  std::vector<std::string> categories;
  std::vector<double>
      quantiles;  // number: up to kQuantiles order statistics, ascending; all values when there are no more
  std::optional<double> mean;  // of the finite values; absent when there are none
  std::optional<double> deviation;
  std::optional<double> low;
  std::optional<double> high;
};
BOOST_DESCRIBE_STRUCT(FeatureBaseline, (),
                      (feature, kind, rows, missing, edges, counts, categories, quantiles, mean, deviation, low, high))

struct Baseline {
  using json_defaults = void;
  std::vector<FeatureBaseline> features;
  std::optional<FeatureBaseline> score;  // of the model's own output on the training rows

  // Returns the feature's, or nullptr; valid while this lives.
  [[nodiscard]] const FeatureBaseline* find(std::string_view feature) const;
};
BOOST_DESCRIBE_STRUCT(Baseline, (), (features, score))

// Returns the baseline of a number: bins between its deciles (equal deciles merge, so a constant has one bin), NaN as
// missing. Infinite values count in the outer bins but not in edges, quantiles or moments. O(n). Never fails: no values
// give one bin with count 0.
[[nodiscard]] FeatureBaseline number_baseline(std::string feature, std::span<const double> values);

// Returns the baseline of a category over the closed list `categories`. `codes` are indices into it; -1 is missing,
// anything else outside is "other". O(n).
[[nodiscard]] FeatureBaseline category_baseline(std::string feature, std::vector<std::string> categories,
                                                std::span<const std::int32_t> codes);

constexpr std::int32_t kMissingCode = -1;
constexpr std::int32_t kOtherCode = -2;

struct FeatureDrift {
  std::string feature;
  FeatureKind kind = FeatureKind::number;
  std::int64_t rows = 0;
  double missing_share = 0;
  double missing_share_before = 0;
  double psi = 0;           // the missing are a bin of their own: a column that goes empty has drifted
  double psi_no_drift = 0;  // what sampling alone is expected to give
  double psi_p = 1;
  double jensen_shannon = 0;
  std::optional<double> ks;           // numbers: D over the values present
  std::optional<double> chi2;         // categories
  std::optional<double> p;            // of ks or chi2; absent when there is nothing to compare
  std::optional<double> wasserstein;  // numbers, in the feature's unit
  std::optional<double> mean;         // numbers
};
BOOST_DESCRIBE_STRUCT(FeatureDrift, (),
                      (feature, kind, rows, missing_share, missing_share_before, psi, psi_no_drift, psi_p,
                       jensen_shannon, ks, chi2, p, wasserstein, mean))

// Returns how far `values` are from the baseline of a number. KS and Wasserstein are taken against its quantiles: exact
// while training had no more than kQuantiles values, else D errs by at most 1/(2 kQuantiles). O(n). Errors: a
// category's baseline, or no rows on either side.
[[nodiscard]] Result<FeatureDrift> number_drift(const FeatureBaseline& baseline, std::span<const double> values);

// Returns how far `codes` (as in category_baseline) are from the baseline of a category. O(n). Errors as number_drift.
[[nodiscard]] Result<FeatureDrift> category_drift(const FeatureBaseline& baseline, std::span<const std::int32_t> codes);

}  // namespace tidemill::statistics
