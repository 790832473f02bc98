#include "flow/monitors/evaluation.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace tidemill::monitors {
namespace {

struct Line {
  std::int64_t version;
  const char* role;
  double score;
  int label;  // -1: not known
  double temp;
};

tables::Frame frame_of(const std::vector<Line>& lines) {
  std::vector<std::int64_t> versions;
  std::vector<std::string> roles;
  std::vector<double> scores;
  std::vector<std::int64_t> labels;
  std::vector<std::uint8_t> valid;
  std::vector<double> temps;
  for (const auto& line : lines) {
    versions.push_back(line.version);
    roles.emplace_back(line.role);
    scores.push_back(line.score);
    labels.push_back(line.label == 1 ? 1 : 0);
    valid.push_back(line.label < 0 ? 0 : 1);
    temps.push_back(line.temp);
  }
  tables::Frame frame;
  frame.rows = lines.size();
  frame.columns = {{"version", tables::Type::integer, versions, {}},
                   {"role", tables::Type::text, roles, {}},
                   {"score", tables::Type::real, scores, {}},
                   {"label", tables::Type::integer, labels, valid},
                   {"temp", tables::Type::real, temps, {}}};
  return frame;
}

class EvaluationTest : public testing::Test {
 protected:
  Window window_of(const std::vector<Line>& lines) {
    const auto frame = frame_of(lines);
    return evaluate(monitor_, {0, 1000, "w"}, {frame, 1, columns_, baseline_, requirement_}).value();
  }

  Monitor monitor_;
  std::vector<models::ColumnSpec> columns_;
  std::optional<statistics::Baseline> baseline_;
  std::optional<requirements::Requirement> requirement_;
};

TEST_F(EvaluationTest, JudgesWhatCallersGotAndListsTheRest) {
  const auto window = window_of({{1, "champion", 0.9, 1, 0},
                                 {1, "champion", 0.2, 0, 0},
                                 {2, "candidate", 0.8, 1, 0},
                                 {2, "candidate", 0.1, -1, 0},
                                 {3, "shadow", 0.3, 1, 0},
                                 {3, "shadow", 0.7, 0, 0}});
  EXPECT_EQ(window.served.rows, 4);
  EXPECT_EQ(window.served.labelled, 3);
  EXPECT_EQ(window.served.auc, 1.0);
  EXPECT_NEAR(*window.served.brier, (0.01 + 0.04 + 0.04) / 3, 1e-12);
  EXPECT_NEAR(*window.served.mean_score, 0.5, 1e-12);
  ASSERT_EQ(window.versions.size(), 3u);
  EXPECT_EQ(window.versions[2].role, "shadow");
  EXPECT_EQ(window.versions[2].quality.auc, 0.0);
}

TEST_F(EvaluationTest, AVersionThatServedAndShadowedIsListedOnceWithAllItsRows) {
  const auto window = window_of({{1, "shadow", 0.9, 1, 0}, {1, "champion", 0.2, 0, 0}, {2, "candidate", 0.8, 1, 0}});
  ASSERT_EQ(window.versions.size(), 2u);
  EXPECT_EQ(window.versions[0].role, "champion");
  EXPECT_EQ(window.versions[0].quality.rows, 2);
  EXPECT_EQ(window.versions[0].quality.auc, 1.0);
}

TEST_F(EvaluationTest, OneClassHasNoAucAndNoAlert) {
  requirement_.emplace();
  requirement_->rules = {{"auc", ">=", 0.99, requirements::On::live}};
  monitor_.labels_min = 1;
  const auto window = window_of({{1, "champion", 0.9, 1, 0}, {1, "champion", 0.2, 1, 0}});
  EXPECT_FALSE(window.served.auc);
  EXPECT_TRUE(window.served.brier);
  ASSERT_EQ(window.verdicts.size(), 1u);
  EXPECT_FALSE(window.verdicts[0].met);  // what is not known is not met …
  EXPECT_EQ(window.alert_count, 0);      // … but no news about the model
}

TEST_F(EvaluationTest, AMissedRuleIsAnAlertOnceThereAreEnoughLabels) {
  requirement_.emplace();
  requirement_->rules = {{"brier", "<=", 0.01, requirements::On::live}};
  monitor_.labels_min = 2;
  const std::vector<Line> lines{{1, "champion", 0.6, 1, 0}, {1, "champion", 0.4, 0, 0}};
  const auto window = window_of(lines);
  ASSERT_EQ(window.alerts.size(), 1u);
  EXPECT_EQ(window.alerts[0].kind, AlertKind::requirement);
  EXPECT_EQ(describe(window.alerts), "brier 0.16 misses <= 0.01");
  monitor_.labels_min = 3;
  EXPECT_EQ(window_of(lines).alert_count, 0);
}

TEST_F(EvaluationTest, DriftIsAnAlertWhenEnoughFeaturesAndRowsSaySo) {
  std::vector<double> training;
  std::vector<Line> lines;
  for (int i = 0; i < 1000; ++i) {
    training.push_back(i % 100);
    lines.push_back({1, "champion", 0.5, -1, 200.0 + i % 100});
    lines.push_back({1, "shadow", 0.5, -1, 0});  // what nobody got does not count
  }
  columns_ = {{"temp", models::ColumnKind::number, {}, models::Missing::nan}};
  baseline_ = statistics::Baseline{{statistics::number_baseline("temp", training)}, std::nullopt};
  monitor_.drift = {.psi_alert = 0.25, .rows_min = 1000, .features_min = 1, .features = {}};
  const auto window = window_of(lines);
  ASSERT_EQ(window.drift.size(), 1u);
  EXPECT_EQ(window.drift[0].rows, 1000);
  ASSERT_EQ(window.alerts.size(), 1u);
  EXPECT_EQ(window.alerts[0].subject, "temp");

  monitor_.drift.features_min = 2;
  EXPECT_EQ(window_of(lines).alert_count, 0);
  monitor_.drift.features_min = 1;
  monitor_.drift.rows_min = 1001;
  EXPECT_EQ(window_of(lines).alert_count, 0);
  monitor_.drift.rows_min = 1;
  monitor_.drift.features = {"pressure"};
  EXPECT_EQ(window_of(lines).alert_count, 0);
}

TEST_F(EvaluationTest, AFrameThatIsNoLogIsRefused) {
  tables::Frame frame;
  EXPECT_EQ(rows_of(frame).error().reason, "monitors.bad_frame");
}

TEST(Describe, NamesTheFirstAndCountsTheRest) {
  std::vector<Alert> alerts(6, Alert{AlertKind::drift, "x", 1, 0.25, "x has drifted"});
  EXPECT_EQ(describe({}), "");
  EXPECT_TRUE(describe(alerts).ends_with("; and 2 more"));
}

}  // namespace
}  // namespace tidemill::monitors
