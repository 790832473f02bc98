#include "flow/monitors/canaries.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace tidemill::monitors {
namespace {

const deployments::CanaryRule kRule{.labels_min = 20, .margin = 0.01};

// Scores that order `good` of ten pairs rightly, for ten negatives and ten positives.
std::vector<double> scores(int good) {
  std::vector<double> out(20, 0.5);
  for (std::size_t i = 0; i < 10; ++i) {
    out[i] = 0.1;                                           // negatives
    out[10 + i] = static_cast<int>(i) < good ? 0.9 : 0.05;  // positives
  }
  return out;
}

std::vector<std::uint8_t> labels() {
  std::vector<std::uint8_t> out(20, 0);
  for (std::size_t i = 10; i < 20; ++i) out[i] = 1;
  return out;
}

TEST(Canaries, ABetterCandidateIsPromoted) {
  const auto ruling = judge(kRule, scores(9), scores(6), labels()).value();
  EXPECT_EQ(ruling.ruling, Ruling::promote);
  EXPECT_NEAR(ruling.evidence.at("candidate_auc").as_double(), 0.9, 1e-12);
  EXPECT_NEAR(ruling.evidence.at("champion_auc").as_double(), 0.6, 1e-12);
  EXPECT_EQ(ruling.evidence.at("rows").as_int64(), 20);
}

TEST(Canaries, AnEqualCandidateIsPromoted) {
  EXPECT_EQ(judge(kRule, scores(7), scores(7), labels()).value().ruling, Ruling::promote);
}

TEST(Canaries, AWorseCandidateIsRolledBack) {
  const auto ruling = judge(kRule, scores(5), scores(6), labels()).value();
  EXPECT_EQ(ruling.ruling, Ruling::roll_back);
  EXPECT_NE(ruling.reason.find("worse than"), std::string::npos);
}

TEST(Canaries, WithinTheMarginItStays) {
  EXPECT_EQ(judge({.labels_min = 20, .margin = 0.11}, scores(5), scores(6), labels()).value().ruling, Ruling::promote);
  EXPECT_EQ(judge({.labels_min = 20, .margin = 0.09}, scores(5), scores(6), labels()).value().ruling,
            Ruling::roll_back);
}

TEST(Canaries, WaitsForLabelsAndForBothClasses) {
  EXPECT_EQ(judge({.labels_min = 21, .margin = 0.01}, scores(9), scores(6), labels()).value().ruling, Ruling::wait);
  EXPECT_EQ(judge(kRule, scores(9), scores(6), std::vector<std::uint8_t>(20, 1)).value().ruling, Ruling::wait);
  EXPECT_EQ(judge(kRule, scores(9), scores(6), std::vector<std::uint8_t>(20, 0)).value().ruling, Ruling::wait);
  EXPECT_EQ(judge(kRule, {}, {}, {}).value().ruling, Ruling::wait);
}

}  // namespace
}  // namespace tidemill::monitors
