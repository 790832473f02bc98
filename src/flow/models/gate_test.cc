#include "flow/models/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "flow/models/events.h"
#include "flow/models/fixture.h"
#include "flow/models/parity.h"
#include "flow/models/steps.h"

namespace tidemill::models {
namespace {

using test::kApprover;
using test::kMaker;

// Labelled rows in which lateness truly depends on hour and carrier.
tables::Frame flights(std::size_t rows, std::uint64_t seed, double positive_share = 1) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform;
  std::vector<double> hours;
  std::vector<std::string> carriers;
  std::vector<std::int64_t> late;
  for (std::size_t i = 0; i < rows; ++i) {
    const double hour = std::floor(24 * uniform(random));
    const bool ua = uniform(random) < 0.5;
    const double chance = 1 / (1 + std::exp(-(0.3 * hour + (ua ? 1.0 : 0.0) - 4)));
    hours.push_back(hour);
    carriers.emplace_back(ua ? "UA" : "AA");
    late.push_back(uniform(random) < chance * positive_share ? 1 : 0);
  }
  return {{{"hour", tables::Type::real, hours, {}},
           {"carrier", tables::Type::text, carriers, {}},
           {"late", tables::Type::integer, late, {}}},
          rows};
}

class GateTest : public test::ModelsFixture {
 protected:
  void SetUp() override {
    ASSERT_TRUE(add_model("flight-delay"));
    require({{"auc", ">=", 0.7}, {"brier", "<=", 0.25}, {"latency_ms_p99", "<=", 1000}});
  }

  void require(std::vector<requirements::Rule> rules, const std::string& name = "late-flights") {
    requirements::NewRequirement requirement;
    requirement.name = name;
    requirement.goal = "g";
    requirement.owner = "o";
    requirement.rules = std::move(rules);
    ASSERT_TRUE(requirements_->add(kMaker, requirement));
  }

  std::filesystem::path save(const tables::Frame& frame,
                             const std::string& name = "data") {  // no extension: known by its first bytes
    const auto file = folder_.path() / (name + ".parquet");
    EXPECT_TRUE(tables_->write_parquet(frame, file));
    std::filesystem::rename(file, folder_.path() / name);
    return folder_.path() / name;
  }

  Result<GateReport> judge_it(std::int64_t number, const std::filesystem::path& data, const GateOptions& options = {},
                              const std::string& requirement = "late-flights") {
    return judge(*models_, "flight-delay", number, requirement, data, options);
  }

  // Makes version `number` the champion.
  void crown(std::int64_t number) {
    GateReport passed;
    passed.passed = true;
    ASSERT_TRUE(models_->add_gate_report(kMaker, "flight-delay", number, passed));
    ASSERT_TRUE(write([&](sql::Tx& tx) -> Result<void> {
      TM_CHECK(models_->approve(tx, kApprover, "flight-delay", number, "good"));
      return models_->set_alias(tx, kApprover, "flight-delay", kChampion, number);
    }));
  }

  pipelines::BuiltinCall call(const std::string& step, json::Object with,
                              std::map<std::string, std::filesystem::path> inputs) {
    pipelines::BuiltinCall built;
    built.run = run_;
    built.step = step;
    built.pipeline = "train";
    built.with = std::move(with);
    built.inputs = std::move(inputs);
    built.outputs = folder_.path() / "out";
    std::filesystem::create_directories(built.outputs);
    built.actor = kMaker;
    built.cancelled = [] { return false; };
    built.log = [this](const std::string& line) { log_ += line + "\n"; };
    return built;
  }

  const NewVersion good_ = flights_version({0.3F, 1.0F}, -4);
  const NewVersion poor_ = flights_version({0.0F, 1.0F}, -1);       // knows only the carrier
  const NewVersion reversed_ = flights_version({-0.3F, -1.0F}, 4);  // exactly wrong
  pipelines::PipelineRunId run_ = pipelines::PipelineRunId::generate();
  std::string log_;
};

TEST_F(GateTest, AGoodModelPassesAndTheReportSaysWhy) {
  ASSERT_TRUE(models_->add_version(kMaker, good_));
  const GateReport report = judge_it(1, save(flights(3000, 1))).value();
  EXPECT_TRUE(report.passed) << report.reason;
  ASSERT_EQ(report.verdicts.size(), 3u);
  EXPECT_EQ(report.rows, 3000);
  EXPECT_FALSE(report.champion);
  EXPECT_LT(report.candidate->auc_low, report.candidate->auc);
  EXPECT_GT(report.candidate->auc, 0.8);
  EXPECT_EQ(report.metrics.at("positives"), static_cast<double>(report.positives));
  EXPECT_GT(report.metrics.at("latency_ms_p99"), 0);
  EXPECT_NE(report.reason.find("meets every rule of late-flights"), std::string::npos);
  // The score on the same rows by hand: our own formula, not the runtime's.
  const auto frame = flights(3000, 1);
  std::vector<double> scores;
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < frame.rows; ++i) {
    scores.push_back(
        1 / (1 + std::exp(-(0.3 * frame.columns[0].number(i) + (frame.columns[1].texts()[i] == "UA" ? 1 : 0) - 4))));
    labels.push_back(static_cast<std::uint8_t>(frame.columns[2].integers()[i]));
  }
  EXPECT_NEAR(report.candidate->brier, statistics::brier(scores, labels)->value, 1e-6);
}

TEST_F(GateTest, AMissedRuleIsNamed) {
  ASSERT_TRUE(models_->add_version(kMaker, poor_));
  const GateReport report = judge_it(1, save(flights(3000, 1))).value();
  EXPECT_FALSE(report.passed);
  EXPECT_NE(report.reason.find("auc 0."), std::string::npos) << report.reason;
  EXPECT_NE(report.reason.find("misses >= 0.7"), std::string::npos);
}

TEST_F(GateTest, TheCandidateMustBeatTheChampion) {
  ASSERT_TRUE(models_->add_version(kMaker, good_));
  ASSERT_TRUE(models_->add_version(kMaker, good_));                              // the same model again
  ASSERT_TRUE(models_->add_version(kMaker, flights_version({0.3F, 0.0F}, -4)));  // a bit worse, yet good enough
  crown(1);
  const auto data = save(flights(3000, 2));
  const GateReport same = judge_it(2, data).value();
  EXPECT_FALSE(same.passed);  // as good is not better
  EXPECT_TRUE(requirements::all_met(same.verdicts));
  EXPECT_EQ(same.difference->auc, 0);
  EXPECT_NE(same.reason.find("does not beat champion 1"), std::string::npos);
  EXPECT_TRUE(judge_it(2, data, {.margin = -0.001})->passed);
  EXPECT_TRUE(judge_it(2, data, {.beat_champion = false})->passed);
  EXPECT_TRUE(judge_it(1, data)->passed);  // the champion itself is not held against itself
  EXPECT_FALSE(judge_it(3, data)->passed);
  EXPECT_LT(judge_it(3, data)->difference->auc, 0);
}

TEST_F(GateTest, MarginAndSignificance) {
  ASSERT_TRUE(models_->add_version(kMaker, flights_version({0.3F, 0.0F}, -4)));
  ASSERT_TRUE(models_->add_version(kMaker, good_));
  crown(1);
  const auto large = save(flights(6000, 3), "large");
  const GateReport report = judge_it(2, large).value();
  ASSERT_TRUE(report.passed) << report.reason;
  EXPECT_FALSE(judge_it(2, large, {.margin = report.difference->auc + 1e-6})->passed);
  EXPECT_TRUE(judge_it(2, large, {.margin = report.difference->auc - 1e-6})->passed);
  EXPECT_TRUE(judge_it(2, large, {.significant = true})->passed);
  EXPECT_FALSE(judge_it(2, large, {.margin = report.difference->auc - 1e-6, .significant = true})->passed);
}

TEST_F(GateTest, TooFewRowsProveNothing) {
  ASSERT_TRUE(models_->add_version(kMaker, good_));
  const auto few = save(flights(499, 4), "few");
  const GateReport report = judge_it(1, few).value();
  EXPECT_FALSE(report.passed);
  EXPECT_FALSE(report.candidate);
  EXPECT_NE(report.reason.find("499 labelled rows; the gate needs 500"), std::string::npos);
  EXPECT_TRUE(judge_it(1, few, {.rows_min = 499})->candidate);
  const auto rare = flights(1000, 5, 0.02);
  const auto rare_file = save(rare, "rare");
  const GateReport positives = judge_it(1, rare_file).value();
  EXPECT_NE(positives.reason.find("positive rows; the gate needs 50"), std::string::npos);
  EXPECT_TRUE(judge_it(1, rare_file, {.positives_min = positives.positives})->candidate);
  EXPECT_FALSE(judge_it(1, rare_file, {.positives_min = positives.positives + 1})->candidate);
  const std::string all = judge_it(1, rare_file, {.rows_min = 1001, .negatives_min = 1000})->reason;
  for (const char* option : {"(rows_min)", "(positives_min)", "(negatives_min)"})
    EXPECT_NE(all.find(option), std::string::npos) << "one run tells everything that is lacking: " << all;
}

TEST_F(GateTest, WhatCannotBeJudgedIsAnError) {
  ASSERT_TRUE(models_->add_version(kMaker, good_));
  const auto data = save(flights(600, 6));
  EXPECT_EQ(judge_it(1, data, {}, "no-such").error().code, Code::kNotFound);
  EXPECT_EQ(judge_it(2, data).error().reason, "models.unknown_version");
  ASSERT_TRUE(requirements_->retire(kMaker, "late-flights", "over"));
  EXPECT_EQ(judge_it(1, data).error().reason, "requirements.retired");
  require({{"auc", ">=", 0.5}}, "other");
  tables::Frame frame = flights(600, 6);
  frame.columns.pop_back();
  EXPECT_EQ(judge_it(1, save(frame, "unlabelled"), {}, "other").error().reason, "models.column_missing");
  frame = flights(600, 6);
  frame.columns[0].name = "Hour";
  EXPECT_NE(judge_it(1, save(frame, "renamed"), {}, "other").error().message.find("'hour'"), std::string::npos);
  NewVersion unproven = good_;
  unproven.parity.reset();
  ASSERT_TRUE(models_->add_version(kMaker, unproven));
  EXPECT_EQ(judge_it(2, data, {}, "other").error().reason, "models.no_parity");
  EXPECT_TRUE(judge_it(2, data, {.parity_required = false}, "other"));
}

TEST_F(GateTest, AReversedModelFails) {
  ASSERT_TRUE(models_->add_version(kMaker, reversed_));
  const GateReport report = judge_it(1, save(flights(2000, 7))).value();
  EXPECT_FALSE(report.passed);
  EXPECT_LT(report.candidate->auc, 0.3);
}

TEST_F(GateTest, TheStepsOfAPipeline) {
  const auto onnx = runtimes::test::write(folder_.path() / "model.onnx", runtimes::test::logistic({0.3F, 1.0F}, -4));
  const auto columns = runtimes::test::write(folder_.path() / "columns.json", json::encode(test::flights_signature()));
  // The original's predictions, as a training step writes them.
  tables::Frame rows = flights(2000, 8);
  std::vector<double> probabilities;
  for (std::size_t i = 0; i < rows.rows; ++i) {
    probabilities.push_back(
        1 / (1 + std::exp(-(0.3 * rows.columns[0].number(i) + (rows.columns[1].texts()[i] == "UA" ? 1 : 0) - 4))));
  }
  rows.columns.push_back({"probability", tables::Type::real, probabilities, {}});
  const auto frozen = save(rows, "frozen");

  const auto proof =
      parity_step(*models_, call("parity", {}, {{"onnx", onnx}, {"columns.json", columns}, {"rows", frozen}})).value();
  EXPECT_TRUE(proof.at("passed").as_bool());
  EXPECT_LT(proof.at("max_abs_diff").as_double(), 1e-6);
  EXPECT_EQ(proof.at("rows"), 2000);

  const std::map<std::string, std::filesystem::path> parts{{"onnx", onnx},
                                                           {"columns", columns},
                                                           {"parity", folder_.path() / "out/parity.json"},
                                                           {"baseline", frozen},
                                                           {"notes.txt", columns}};
  const json::Object with{{"model", "new-model"},
                          {"run_id", "abc"},
                          {"datasets", json::Array{json::Object{{"dataset", "flights"}, {"number", 2}}}}};
  const auto registered = register_step(*models_, call("register", with, parts)).value();
  EXPECT_EQ(registered.at("number"), 1);
  EXPECT_EQ(register_step(*models_, call("register", with, parts))->at("number"), 1);  // called again after a crash
  const VersionDetail detail = models_->detail("new-model", 1).value();
  EXPECT_EQ(detail.lineage.pipeline_run, run_.str());
  EXPECT_EQ(detail.lineage.datasets.at(0).number, 2);
  EXPECT_EQ(detail.parity->rows, 2000);
  EXPECT_TRUE(detail.files.contains("notes.txt"));
  EXPECT_FALSE(detail.files.contains("baseline"));
  const auto baseline = models_->baseline("new-model", 1).value();
  EXPECT_EQ(baseline->find("hour")->rows, 2000);
  EXPECT_EQ(baseline->score->rows, 2000);

  const json::Object gate{{"model", "new-model"}, {"version", 1}, {"requirement", "late-flights"}};
  const auto judged = gate_step(*models_, call("gate", gate, {{"data", frozen}})).value();
  EXPECT_TRUE(judged.at("passed").as_bool());
  EXPECT_EQ(models_->version("new-model", 1)->state, State::tested);
  const auto events = event_kinds();
  EXPECT_EQ(events.back(), events_of::kGatePassed);
  EXPECT_EQ(gate_step(*models_, call("gate", gate, {{"data", frozen}})).value(), judged);  // once per step
  EXPECT_EQ(event_kinds().size(), events.size());
}

TEST_F(GateTest, AGateThatIsNotPassedIsAResultOrAFailureAsAsked) {
  ASSERT_TRUE(models_->add_version(kMaker, poor_));
  const auto data = save(flights(2000, 9));
  json::Object with{{"model", "flight-delay"}, {"version", 1}, {"requirement", "late-flights"}};
  EXPECT_FALSE(gate_step(*models_, call("gate", with, {{"data", data}})).value().at("passed").as_bool());
  with["on_fail"] = "fail";
  EXPECT_EQ(gate_step(*models_, call("strict", with, {{"data", data}})).error().reason, "models.gate_failed");
  EXPECT_EQ(models_->detail("flight-delay", 1)->tests.size(), 2u);  // the evidence stays
  with["unknown"] = 1;
  EXPECT_EQ(gate_step(*models_, call("other", with, {{"data", data}})).error().reason, "json.unknown_field");
  with.erase("unknown");
  EXPECT_EQ(gate_step(*models_, call("other", with, {})).error().reason, "models.input_missing");
}

TEST_F(GateTest, ParityFailsClosed) {
  const auto onnx = runtimes::test::write(folder_.path() / "model.onnx", runtimes::test::logistic({0.3F, 1.0F}, -4));
  const auto session = runtime_->load(onnx).value();
  const auto encoder = Encoder::create(test::flights_signature().columns).value();
  const tables::Frame rows = flights(200, 10);
  std::vector<double> original(200);
  ASSERT_TRUE(session->score(encoder.encode(rows).value(), 2, original));
  const auto measured = [&](const ParityLimits& limits = {}) {
    return measure_parity(*session, encoder, rows, original, "digest", limits);
  };
  ASSERT_TRUE(measured());
  EXPECT_EQ(measured()->max_abs_diff, 0);
  original[77] += 1e-4;
  EXPECT_NE(measured().error().message.find("in row 77"), std::string::npos);
  EXPECT_TRUE(measured({.max_abs_diff = 1.1e-4}));
  original[77] = std::nan("");
  EXPECT_EQ(measured().error().reason, "models.parity_impossible");
  ASSERT_TRUE(session->score(encoder.encode(rows).value(), 2, original));
  original[5] = original[5] >= 0.5 ? 0.4 : 0.6;  // the other side of the threshold
  EXPECT_FALSE(measured({.max_abs_diff = 1, .label_agreement = 1}));
  EXPECT_TRUE(measured({.max_abs_diff = 1, .label_agreement = 199.0 / 200}));
  original.pop_back();
  EXPECT_EQ(measured().error().reason, "models.parity_impossible");
  original.assign(200, 0);
  EXPECT_EQ(measured({.rows_min = 201}).error().reason, "models.parity_impossible");
}

}  // namespace
}  // namespace tidemill::models
