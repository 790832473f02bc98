// Cases small enough to be worked out by hand; tests/numerics compares with scipy and scikit-learn.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/json.h"
#include "statistics/baseline.h"
#include "statistics/classification.h"
#include "statistics/distributions.h"
#include "statistics/ranking.h"
#include "statistics/two_sample.h"

namespace tidemill::statistics {
namespace {

using Doubles = std::vector<double>;
using Labels = std::vector<std::uint8_t>;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Auc, CountsPairsAndHalvesTies) {
  // Pairs: (0.8 beats 0.1, 0.5, 0.8 tie), (0.5 beats 0.1, tie 0.5, loses to 0.8): 2.5 + 1.5 of 6.
  const auto result = auc(Doubles{0.1, 0.5, 0.8, 0.8, 0.5}, Labels{0, 0, 0, 1, 1}).value();
  EXPECT_DOUBLE_EQ(result.estimate.value, 4.0 / 6);
  EXPECT_EQ(result.positives, 2);
  // DeLong by hand: positives 2.5/3 and 1.5/3; negatives 1, 0.75 and 0.25.
  const double of_positives = 2 * (1.0 / 6) * (1.0 / 6) / 1 / 2;
  const double of_negatives = ((1.0 / 3) * (1.0 / 3) + (1.0 / 12) * (1.0 / 12) + (5.0 / 12) * (5.0 / 12)) / 2 / 3;
  EXPECT_NEAR(result.estimate.variance, of_positives + of_negatives, 1e-15);
  EXPECT_EQ(result.estimate.high, 1);  // clipped
}

TEST(Auc, AWiderConfidenceWidensTheInterval) {
  const Doubles scores{0.1, 0.4, 0.35, 0.8, 0.6, 0.2};
  const Labels labels{0, 0, 1, 1, 0, 1};
  const auto narrow = auc(scores, labels, 0.5).value().estimate;
  const auto wide = auc(scores, labels, 0.9).value().estimate;
  EXPECT_LT(wide.low, narrow.low);
  for (const double bad : {0.0, 1.0, -1.0, kNan})
    EXPECT_EQ(auc(scores, labels, bad).error().reason, "statistics.confidence");
}

TEST(AucDifference, ASureDifferenceHasNoDoubt) {
  const Labels labels{0, 0, 1, 1};
  const auto result = auc_difference(Doubles{1, 2, 3, 4}, Doubles{4, 3, 2, 1}, labels).value();
  EXPECT_EQ(result.difference.value, 1);
  EXPECT_EQ(result.p, 0);
  EXPECT_EQ(auc_difference(Doubles{1, 2}, Doubles{1, 2, 3}, labels).error().reason, "statistics.length");
}

TEST(Confusion, TheThresholdItselfIsPositive) {
  const auto counts = confusion(Doubles{0.5, 0.4999, 0.5, 0.1}, Labels{1, 1, 0, 0}, 0.5).value();
  EXPECT_EQ(counts.true_positives, 1);
  EXPECT_EQ(counts.false_negatives, 1);
  EXPECT_EQ(counts.false_positives, 1);
  EXPECT_EQ(counts.accuracy(), 0.5);
  const Confusion nothing;
  EXPECT_EQ(nothing.precision() + nothing.recall() + nothing.f1() + nothing.accuracy(), 0);
}

TEST(LogLoss, ASureMistakeIsFinite) {
  EXPECT_NEAR(log_loss(Doubles{0.0}, Labels{1}).value(), 36.04, 0.01);
  EXPECT_NEAR(log_loss(Doubles{1.0}, Labels{1}).value(), 0, 1e-15);
}

TEST(Brier, OneRowTellsNoInterval) {
  const auto estimate = brier(Doubles{0.25}, Labels{1}).value();
  EXPECT_EQ(estimate.value, 0.5625);
  EXPECT_TRUE(std::isnan(estimate.variance));
  EXPECT_EQ(estimate.high, 1);
}

TEST(Samples, MissingValuesAreCountedAndZerosTie) {
  const auto sample = sorted_sample(Doubles{kNan, 0.0, -0.0, -1, kNan});
  EXPECT_EQ(sample.missing, 2u);
  EXPECT_EQ(sample.values, (Doubles{-1, 0, 0}));
  EXPECT_FALSE(std::signbit(sample.values[1]));
}

TEST(Kolmogorov, KnownValues) {
  // P(D_1 >= d) = 2 (1 - d) for d >= 1/2; P(D_2 >= 0.9) = 2 * 0.1^2.
  EXPECT_NEAR(kolmogorov_survival(1, 0.75), 0.5, 1e-15);
  EXPECT_NEAR(kolmogorov_survival(2, 0.9), 0.02, 1e-15);
  EXPECT_EQ(kolmogorov_survival(5, kNan), 1);
  double before = 1;
  for (double d = 0.001; d < 1; d += 0.001) {  // never rises, across every change of method
    const double now = kolmogorov_survival(500, d);
    EXPECT_LE(now, before + 2e-6) << d;
    before = now;
  }
}

TEST(TwoSamples, ApartAndAlike) {
  const auto low = sorted_sample(Doubles{1, 2, 3});
  const auto high = sorted_sample(Doubles{11, 12, 13});
  EXPECT_EQ(ks_two_sample(low, high)->d, 1);
  EXPECT_EQ(ks_two_sample(low, low)->p, 1);
  EXPECT_EQ(wasserstein(low, high).value(), 10);
  EXPECT_EQ(wasserstein(low, low).value(), 0);
}

TEST(Psi, OneBinCannotDrift) {
  EXPECT_EQ(psi(Doubles{7}, Doubles{900})->value, 0);
  EXPECT_EQ(psi(Doubles{5, 5}, Doubles{5, 5})->value, 0);
}

TEST(Baseline, AConstantHasOneBin) {
  const auto baseline = number_baseline("f", Doubles{3, 3, 3, kNan});
  EXPECT_TRUE(baseline.edges.empty());
  EXPECT_EQ(baseline.counts, (std::vector<std::int64_t>{3}));
  EXPECT_EQ(baseline.missing, 1);
  EXPECT_EQ(baseline.mean, 3);
  EXPECT_LT(number_drift(baseline, Doubles{3, 3, 3, kNan})->psi, 1e-12);
}

TEST(Baseline, NothingButMissingOrInfinite) {
  const auto empty = number_baseline("f", Doubles{kNan, kNan});
  EXPECT_FALSE(empty.mean);
  EXPECT_FALSE(number_drift(empty, Doubles{1, 2})->ks);
  const double infinity = std::numeric_limits<double>::infinity();
  const auto infinite = number_baseline("f", Doubles{-infinity, infinity, 1, 2});
  EXPECT_EQ(infinite.low, 1);
  EXPECT_EQ(infinite.counts.front() + infinite.counts.back(), 4);
  EXPECT_EQ(number_drift(empty, Doubles{}).error().reason, "statistics.empty");
  EXPECT_EQ(number_baseline("f", Doubles{}).rows, 0);
}

TEST(Baseline, KindsAreNotMixed) {
  const auto numbers = number_baseline("f", Doubles{1, 2});
  const auto codes = category_baseline("g", {"a", "b"}, std::vector<std::int32_t>{0, 1, 1, kMissingCode, 9});
  EXPECT_EQ(codes.counts, (std::vector<std::int64_t>{1, 2, 1}));
  EXPECT_EQ(codes.missing, 1);
  EXPECT_EQ(category_drift(numbers, std::vector<std::int32_t>{0}).error().reason, "statistics.kind");
  EXPECT_EQ(number_drift(codes, Doubles{0}).error().reason, "statistics.kind");
}

TEST(Baseline, SurvivesJsonWithoutMovingAValueToAnotherBin) {
  Doubles values;
  for (int i = 0; i < 1000; ++i) values.push_back(std::floor(i / 7.0) / 70);  // many ties exactly on the edges
  const auto baseline = number_baseline("f", values);
  const auto travelled = json::decode<FeatureBaseline>(json::encode(baseline)).value();
  EXPECT_EQ(number_drift(travelled, values)->psi, number_drift(baseline, values)->psi);
  EXPECT_LT(number_drift(travelled, values)->psi, 1e-12);
}

}  // namespace
}  // namespace tidemill::statistics
