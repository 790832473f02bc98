#include "statistics/baseline.h"

#include <algorithm>
#include <cmath>

#include "statistics/checks.h"
#include "statistics/distributions.h"
#include "statistics/two_sample.h"

namespace tidemill::statistics {
namespace {

// The finite middle of an ascending sample.
std::span<const double> finite_part(const std::vector<double>& ascending) {
  const auto first = std::find_if(ascending.begin(), ascending.end(), [](double x) { return !std::isinf(x); });
  const auto last = std::find_if(ascending.rbegin(), ascending.rend(), [](double x) { return !std::isinf(x); }).base();
  return first < last ? std::span<const double>(first, last) : std::span<const double>();
}

// Inner edges between the deciles. The greatest value is never an edge: the bin above it would always be empty.
std::vector<double> decile_edges(std::span<const double> ascending) {
  std::vector<double> edges;
  for (std::size_t k = 1; k < kBins && !ascending.empty(); ++k) {
    const double edge = quantile_of_sorted(ascending, static_cast<double>(k) / kBins);
    if (edge < ascending.back() && (edges.empty() || edge > edges.back())) edges.push_back(edge);
  }
  return edges;
}

std::vector<double> kept_quantiles(std::span<const double> ascending) {
  if (ascending.size() <= kQuantiles) return {ascending.begin(), ascending.end()};
  std::vector<double> kept;
  for (std::size_t i = 0; i < kQuantiles; ++i) {
    kept.push_back(quantile_of_sorted(ascending, (static_cast<double>(i) + 0.5) / kQuantiles));
  }
  return kept;
}

// Counts of an ascending sample in the bins between `edges`: one binary search an edge.
std::vector<std::int64_t> bin_counts(const std::vector<double>& ascending, const std::vector<double>& edges) {
  std::vector<std::int64_t> counts;
  auto from = ascending.begin();
  for (const double edge : edges) {
    const auto to = std::upper_bound(from, ascending.end(), edge);
    counts.push_back(to - from);
    from = to;
  }
  counts.push_back(ascending.end() - from);
  return counts;
}

std::optional<double> mean_of(std::span<const double> values) {
  if (values.empty()) return std::nullopt;
  Sum sum;
  for (const double value : values) sum.add(value);
  return sum.value() / static_cast<double>(values.size());
}

std::vector<double> with_missing(const std::vector<std::int64_t>& counts, std::int64_t missing) {
  std::vector<double> all(counts.begin(), counts.end());
  all.push_back(static_cast<double>(missing));
  return all;
}

Result<FeatureDrift> start_drift(const FeatureBaseline& baseline, FeatureKind kind, std::size_t rows) {
  if (baseline.kind != kind) {
    return fail(Code::kInvalidArgument, "statistics.kind",
                "Feature '" + baseline.feature + "' is a " + std::string(enum_name(baseline.kind)) + ", not a " +
                    std::string(enum_name(kind)) + ".",
                "Compare a feature with the baseline of its own kind.");
  }
  if (rows == 0 || baseline.rows == 0) {
    return fail(Code::kInvalidArgument, "statistics.empty",
                "Feature '" + baseline.feature + "' has no rows to compare.", "Take a longer window.");
  }
  FeatureDrift drift;
  drift.feature = baseline.feature;
  drift.kind = kind;
  drift.rows = static_cast<std::int64_t>(rows);
  drift.missing_share_before = static_cast<double>(baseline.missing) / static_cast<double>(baseline.rows);
  return drift;
}

// PSI and Jensen–Shannon over the bins and the missing.
Result<void> compare_counts(FeatureDrift& drift, const FeatureBaseline& baseline,
                            const std::vector<std::int64_t>& counts, std::int64_t missing) {
  drift.missing_share = static_cast<double>(missing) / static_cast<double>(drift.rows);
  const auto before = with_missing(baseline.counts, baseline.missing);
  const auto now = with_missing(counts, missing);
  const Psi stability = TM_TRY(psi(before, now));
  drift.psi = stability.value;
  drift.psi_no_drift = stability.no_drift;
  drift.psi_p = stability.p;
  drift.jensen_shannon = TM_TRY(jensen_shannon(before, now));
  return {};
}

struct CodeCounts {
  std::vector<std::int64_t> counts;
  std::int64_t missing = 0;
};

CodeCounts count_codes(std::span<const std::int32_t> codes, std::size_t categories) {
  CodeCounts result{std::vector<std::int64_t>(categories + 1, 0)};
  for (const std::int32_t code : codes) {
    if (code == kMissingCode) {
      ++result.missing;
    } else {
      const bool known = code >= 0 && static_cast<std::size_t>(code) < categories;
      ++result.counts[known ? static_cast<std::size_t>(code) : categories];
    }
  }
  return result;
}

}  // namespace

const FeatureBaseline* Baseline::find(std::string_view feature) const {
  const auto found =
      std::find_if(features.begin(), features.end(), [&](const auto& f) { return f.feature == feature; });
  return found == features.end() ? nullptr : &*found;
}

FeatureBaseline number_baseline(std::string feature, std::span<const double> values) {
  const SortedSample sample = sorted_sample(values);
  const std::span<const double> finite = finite_part(sample.values);
  FeatureBaseline baseline;
  baseline.feature = std::move(feature);
  baseline.rows = static_cast<std::int64_t>(values.size());
  baseline.missing = static_cast<std::int64_t>(sample.missing);
  baseline.edges = decile_edges(finite);
  baseline.counts = bin_counts(sample.values, baseline.edges);
  baseline.quantiles = kept_quantiles(finite);
  baseline.mean = mean_of(finite);
  if (baseline.mean) {
    baseline.low = finite.front();
    baseline.high = finite.back();
  }
  if (finite.size() > 1) {
    Sum squares;
    for (const double value : finite) squares.add((value - *baseline.mean) * (value - *baseline.mean));
    baseline.deviation = std::sqrt(squares.value() / static_cast<double>(finite.size() - 1));
  }
  return baseline;
}

FeatureBaseline category_baseline(std::string feature, std::vector<std::string> categories,
                                  std::span<const std::int32_t> codes) {
  FeatureBaseline baseline;
  baseline.feature = std::move(feature);
  baseline.kind = FeatureKind::category;
  baseline.rows = static_cast<std::int64_t>(codes.size());
  CodeCounts counted = count_codes(codes, categories.size());
  baseline.counts = std::move(counted.counts);
  baseline.missing = counted.missing;
  baseline.categories = std::move(categories);
  return baseline;
}

Result<FeatureDrift> number_drift(const FeatureBaseline& baseline, std::span<const double> values) {
  FeatureDrift drift = TM_TRY(start_drift(baseline, FeatureKind::number, values.size()));
  const SortedSample sample = sorted_sample(values);
  TM_CHECK(compare_counts(drift, baseline, bin_counts(sample.values, baseline.edges),
                          static_cast<std::int64_t>(sample.missing)));
  const std::span<const double> finite = finite_part(sample.values);
  drift.mean = mean_of(finite);
  if (finite.empty() || baseline.quantiles.empty()) return drift;

  const SortedSample before{baseline.quantiles};
  const SortedSample now{{finite.begin(), finite.end()}};
  const KsTest test = TM_TRY(ks_two_sample(before, now));
  drift.ks = test.d;
  drift.wasserstein = TM_TRY(wasserstein(before, now));
  // The p is that of all the rows that the quantiles stand for.
  const auto n1 = static_cast<double>(baseline.rows - baseline.missing);
  const auto n2 = static_cast<double>(finite.size());
  drift.p = kolmogorov_survival(static_cast<std::int64_t>(std::nearbyint(n1 * n2 / (n1 + n2))), test.d);
  return drift;
}

Result<FeatureDrift> category_drift(const FeatureBaseline& baseline, std::span<const std::int32_t> codes) {
  FeatureDrift drift = TM_TRY(start_drift(baseline, FeatureKind::category, codes.size()));
  const CodeCounts counted = count_codes(codes, baseline.categories.size());
  if (baseline.counts.size() != counted.counts.size()) {
    return fail(Code::kInvalidArgument, "statistics.length",
                "The baseline of '" + baseline.feature + "' has " + std::to_string(baseline.counts.size()) +
                    " counts for " + std::to_string(baseline.categories.size()) + " categories.",
                "Keep one count per category and one for all others.");
  }
  TM_CHECK(compare_counts(drift, baseline, counted.counts, counted.missing));
  const std::vector<double> before(baseline.counts.begin(), baseline.counts.end());
  const std::vector<double> now(counted.counts.begin(), counted.counts.end());
  if (const auto test = chi2_two_sample(before, now)) {  // fails only when all are missing on one side
    drift.chi2 = test->statistic;
    drift.p = test->p;
  }
  return drift;
}

}  // namespace tidemill::statistics
