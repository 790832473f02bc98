#include "flow/predictions/predictions.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <future>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "flow/models/fixture.h"
#include "jobs/shim.h"
#include "runtimes/probe.h"

namespace tidemill::predictions {
namespace {

using models::test::kApprover;
using models::test::kMaker;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Version n answers sigmoid(weight_n · hour + [carrier is UA] - 5); the room on temporary storage, whose folder
// outlives a "crash".
class PredictionsTest : public models::test::ModelsFixture {
 protected:
  void SetUp() override {
    ASSERT_TRUE(add_model("flight-delay"));
    deployments_ = deployments::Deployments::create({*database_, *events_, *access_, *models_, clock_}).value();
    open();
  }
  void open(Options options = {}) {
    predictions_.reset();
    predictions_ =
        Predictions::create({*database_, *tables_, *models_, *deployments_, clock_, folder_.path() / "predictions", {}},
                            options)
            .value();
  }
  // A room on a copy of the log as it lies on disk at this moment: what a crash would leave.
  void crash() {
    const auto copy = folder_.path() / ("crash" + std::to_string(++crashes_));
    std::filesystem::copy(folder_.path() / "predictions/journal", copy, std::filesystem::copy_options::recursive);
    predictions_.reset();
    std::filesystem::remove_all(folder_.path() / "predictions/journal");
    std::filesystem::rename(copy, folder_.path() / "predictions/journal");
    open();
  }
  std::int64_t approved(float weight) {
    const auto version = tested_version(flights_version({weight, 1.0F}, -5));
    EXPECT_TRUE(
        write([&](sql::Tx& tx) { return models_->approve(tx, kApprover, "flight-delay", version.number, "good"); }));
    return version.number;
  }
  void deploy(bool durable = true, std::vector<std::int64_t> shadows = {}) {
    const auto made =
        deployments_->add(kMaker, {"flights", "flight-delay", approved(0.5F), "", std::move(shadows), {durable}})
            .value();
    ASSERT_TRUE(predictions_->wait_loaded("flights", made.revision, 10'000));
  }
  void canary(std::int64_t version, std::int64_t percent) {
    const auto made = deployments_->start_canary(kMaker, "flights", {version, percent, {}, ""}).value();
    ASSERT_TRUE(predictions_->wait_loaded("flights", made.revision, 10'000));
  }

  static Ask ask(const std::vector<std::string>& ids, std::int64_t at_ms = 0, double hour = 12,
                 std::string carrier = "UA") {
    Ask made;
    made.deployment = "flights";
    made.request_id = "request";
    made.ids = ids;
    if (at_ms != 0) made.at_ms = {at_ms};
    made.rows.rows = ids.size();
    made.rows.columns = {tables::Column::make("hour", tables::Type::real),
                         tables::Column::make("carrier", tables::Type::text)};
    std::get<std::vector<double>>(made.rows.columns[0].values).assign(ids.size(), hour);
    std::get<std::vector<std::string>>(made.rows.columns[1].values).assign(ids.size(), std::move(carrier));
    return made;
  }
  Result<Answer> infer(Ask asked) {
    std::promise<Result<Answer>> promise;
    predictions_->infer(std::move(asked), [&](Result<Answer> answer) { promise.set_value(std::move(answer)); });
    return promise.get_future().get();
  }
  tables::Frame joined(Filter filter = {}) { return predictions_->joined("flights", filter).value(); }
  Result<std::int64_t> label(std::vector<Label> labels) {
    return predictions_->label(kMaker, "flights", std::move(labels));
  }
  static std::vector<std::string> numbered(const std::string& prefix, int count) {
    std::vector<std::string> ids;
    for (int i = 0; i < count; ++i) ids.push_back(prefix + std::to_string(i));
    return ids;
  }
  // What is true of the frame whatever happened on the way: no (id, version, role) twice.
  static void expect_each_once(const tables::Frame& frame) {
    std::set<std::string> seen;
    for (std::size_t i = 0; i < frame.rows; ++i) {
      const auto key = frame.find("prediction_id")->texts()[i] + "|" +
                       std::to_string(frame.find("version")->integers()[i]) + "|" + frame.find("role")->texts()[i];
      EXPECT_TRUE(seen.insert(key).second) << key;
    }
  }

  std::unique_ptr<deployments::Deployments> deployments_;
  std::unique_ptr<Predictions> predictions_;
  int crashes_ = 0;
};

TEST_F(PredictionsTest, AnswersAndLogsWhatTheModelWasGiven) {
  deploy();
  const auto answer = infer(ask({"a", "b"}, 1'000'000, 9, "UA"));
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_NEAR(answer->probabilities[0], sigmoid(0.5 * 9 + 1 - 5), 1e-6);
  EXPECT_EQ(answer->versions, (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(answer->labels, (std::vector<std::int64_t>{1, 1}));
  const auto frame = joined();
  ASSERT_EQ(frame.rows, 2u);
  EXPECT_EQ(frame.find("at_ms")->integers()[0], 1'000'000);
  EXPECT_EQ(frame.find("hour")->reals()[0], 9.0);
  EXPECT_EQ(frame.find("carrier")->texts()[1], "UA");
  EXPECT_EQ(frame.find("score")->reals()[0], answer->probabilities[0]);
  EXPECT_TRUE(frame.find("label")->is_missing(0));
}

TEST_F(PredictionsTest, RefusesWhatDoesNotFit) {
  EXPECT_EQ(infer(ask({"a"})).error().reason, "deployments.unknown");
  deploy();
  EXPECT_EQ(infer(ask({})).error().reason, "predictions.bad_row_count");
  EXPECT_EQ(infer(ask({"a", "a"})).error().reason, "predictions.id_twice");
  EXPECT_EQ(infer(ask({""})).error().reason, "predictions.bad_id");
  EXPECT_EQ(infer(ask({std::string(257, 'x')})).error().reason, "predictions.bad_id");
  EXPECT_TRUE(infer(ask({std::string(256, 'x')})));
  EXPECT_EQ(infer(ask({"a"}, clock_.now_ms() + Options{}.future_ms_max + 1)).error().reason, "predictions.bad_time");
  EXPECT_TRUE(infer(ask({"in time"}, clock_.now_ms() + Options{}.future_ms_max)));
  EXPECT_EQ(infer(ask({"a"}, -5)).error().reason, "predictions.bad_time");
  Ask missing = ask({"a"});
  missing.rows.columns.pop_back();
  EXPECT_EQ(infer(missing).error().reason, "models.column_missing");
  Ask other = ask({"a"});
  other.version = 7;
  EXPECT_EQ(infer(other).error().reason, "predictions.version_not_deployed");
  EXPECT_EQ(infer(ask({"a"}, 0, std::nan(""))).error().reason, "predictions.no_number");
  EXPECT_EQ(predictions_->stats("flights").rows, 2);
}

TEST_F(PredictionsTest, ATensorIsAnsweredWithTheModelsOwnOutputs) {
  deploy();
  Ask asked;
  asked.deployment = "flights";
  asked.ids = {"t"};
  runtimes::Tensor tensor{"input", runtimes::DataType::FP32, {1, 2}, std::vector<std::byte>(8), {}};
  const float row[] = {9, 1};
  std::memcpy(tensor.bytes.data(), row, sizeof row);
  asked.tensor = tensor;
  const auto answer = infer(asked);
  ASSERT_TRUE(answer) << answer.error().text();
  ASSERT_EQ(answer->outputs.size(), 1u);
  EXPECT_EQ(answer->outputs[0].name, "probabilities");
  EXPECT_EQ(answer->outputs[0].as<float>().size(), 2u);
  EXPECT_NEAR(answer->probabilities[0], sigmoid(0.5 * 9 + 1 - 5), 1e-6);
  EXPECT_EQ(joined().find("carrier")->texts()[0], "UA");
  asked.ids = {"u"};
  asked.tensor->shape = {1, 1};
  asked.tensor->bytes.resize(4);
  EXPECT_EQ(infer(asked).error().reason, "predictions.wrong_shape");
}

TEST_F(PredictionsTest, AnIdCountsOnce) {
  deploy();
  ASSERT_TRUE(infer(ask({"a", "b"}, 1'000'000)));
  ASSERT_TRUE(infer(ask({"a", "b"}, 1'000'000)));
  ASSERT_TRUE(infer(ask({"b", "c"}, 1'000'000)));  // partly known
  EXPECT_EQ(predictions_->stats("flights").rows, 3);
  EXPECT_EQ(joined().rows, 3u);
  crash();
  EXPECT_EQ(predictions_->stats("flights").rows, 3);
  ASSERT_TRUE(infer(ask({"a", "c"}, 1'000'000)));
  EXPECT_EQ(joined().rows, 3u);
}

TEST_F(PredictionsTest, LabelsJoinWhenever) {
  deploy();
  ASSERT_TRUE(label({{"early", 1, 5}}));
  ASSERT_TRUE(infer(ask({"early", "a", "b"}, 1'000'000)));
  ASSERT_TRUE(label({{"a", 1, 0}, {"unknown", 0, 0}}));
  ASSERT_TRUE(label({{"a", 0, 0}}));
  const auto check = [&] {
    const auto stats = predictions_->stats("flights");
    EXPECT_EQ(stats.rows, 3);
    EXPECT_EQ(stats.labelled, 2);
    EXPECT_EQ(stats.labels, 3);
    ASSERT_EQ(stats.versions.size(), 1u);
    EXPECT_EQ(stats.versions[0].labelled, 2);
    const auto frame = joined();
    std::map<std::string, int> labels;
    for (std::size_t i = 0; i < frame.rows; ++i) {
      labels[frame.find("prediction_id")->texts()[i]] =
          frame.find("label")->is_missing(i) ? -1 : static_cast<int>(frame.find("label")->integers()[i]);
    }
    EXPECT_EQ(labels, (std::map<std::string, int>{{"early", 1}, {"a", 0}, {"b", -1}}));
  };
  check();
  crash();
  check();
  ASSERT_TRUE(predictions_->flush());
  check();
  crash();
  check();
}

TEST_F(PredictionsTest, BadLabelsKeepNothing) {
  deploy();
  EXPECT_EQ(label({{"a", 1, 0}, {"b", 2, 0}}).error().reason, "predictions.bad_label");
  EXPECT_EQ(label({{"", 1, 0}}).error().reason, "predictions.bad_label");
  EXPECT_EQ(predictions_->label(kMaker, "nothing", {{"a", 1, 0}}).error().code, Code::kNotFound);
  EXPECT_EQ(predictions_->stats("flights").labels, 0);
}

TEST_F(PredictionsTest, FiltersByTimeVersionAndRole) {
  deploy();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(infer(ask({std::to_string(i)}, 1'000'000 + i * 1'000)));
  ASSERT_TRUE(predictions_->flush());
  for (int i = 10; i < 20; ++i) ASSERT_TRUE(infer(ask({std::to_string(i)}, 1'000'000 + i * 1'000)));
  EXPECT_EQ(joined().rows, 20u);
  EXPECT_EQ(joined({.from_ms = 1'005'000, .to_ms = 1'015'000}).rows,
            10u);  // half from the segment, half from the open log
  EXPECT_EQ(joined({.from_ms = 1'019'000}).rows, 1u);
  EXPECT_EQ(joined({.to_ms = 1'000'000}).rows, 0u);
  EXPECT_EQ(joined({.version = 2}).rows, 0u);
  EXPECT_EQ(joined({.role = Role::shadow}).rows, 0u);
  EXPECT_EQ(predictions_->stats("flights").watermark_ms, 1'019'000);
}

TEST_F(PredictionsTest, ACanaryGetsItsShareAndKeepsItThroughACrash) {
  deploy();
  const std::int64_t second = approved(0.7F);
  canary(second, 30);
  const auto ids = numbered("p", 1000);
  const auto before = infer(ask(ids, 1'000'000)).value();
  const auto share = std::ranges::count(before.versions, second);
  EXPECT_NEAR(static_cast<double>(share), 300, 60);
  EXPECT_EQ(before.version(), 0);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    EXPECT_NEAR(before.probabilities[i], sigmoid((before.versions[i] == second ? 0.7 : 0.5) * 12 + 1 - 5), 1e-6);
  }
  crash();
  EXPECT_EQ(infer(ask(ids, 1'000'000)).value().versions, before.versions);
  const auto frame = joined();
  EXPECT_EQ(frame.rows, 1000u);
  expect_each_once(frame);
  EXPECT_EQ(joined({.role = Role::candidate}).rows, static_cast<std::size_t>(share));
}

TEST_F(PredictionsTest, AShadowIsLoggedAndNeverAnswers) {
  const std::int64_t shadow = approved(0.9F);
  deploy(true, {shadow});
  const auto answer = infer(ask({"a", "b"}, 1'000'000)).value();
  EXPECT_EQ(answer.versions, (std::vector<std::int64_t>{2, 2}));
  ASSERT_TRUE(label({{"a", 1, 0}}));
  const auto shadows = joined({.role = Role::shadow});
  ASSERT_EQ(shadows.rows, 2u);
  EXPECT_NEAR(shadows.find("score")->reals()[0], sigmoid(0.9 * 12 + 1 - 5), 1e-6);
  std::map<std::string, std::int64_t> labelled;
  for (const auto& count : predictions_->stats("flights").versions)
    labelled[std::string(enum_name(count.role))] = count.labelled;
  EXPECT_EQ(labelled, (std::map<std::string, std::int64_t>{{"champion", 1}, {"shadow", 1}}));
  EXPECT_EQ(predictions_->stats("flights").rows, 2);  // of those that were answered
}

TEST_F(PredictionsTest, AnAsynchronousLogAnswersBeforeItWrites) {
  deploy(false);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(infer(ask({std::to_string(i)}, 1'000'000)));
  ASSERT_TRUE(predictions_->flush());
  EXPECT_EQ(joined().rows, 50u);
}

// Sealing stops anywhere: the segment written but not entered; entered but the journal not removed. Nothing doubles,
// nothing is lost.
TEST_F(PredictionsTest, SealingAgainChangesNothing) {
  deploy();
  ASSERT_TRUE(infer(ask(numbered("a", 30), 1'000'000)));
  ASSERT_TRUE(label({{"a3", 1, 0}}));
  const auto keep = folder_.path() / "keep";
  std::filesystem::copy(folder_.path() / "predictions/journal", keep, std::filesystem::copy_options::recursive);
  ASSERT_TRUE(predictions_->flush());
  predictions_.reset();
  // The journal comes back, as if its removal had not reached the disk.
  for (const auto& entry : std::filesystem::directory_iterator(keep)) {
    std::filesystem::copy(entry.path(), folder_.path() / "predictions/journal",
                          std::filesystem::copy_options::skip_existing);
  }
  open();
  ASSERT_TRUE(predictions_->flush());
  EXPECT_EQ(predictions_->stats("flights").rows, 30);
  EXPECT_EQ(predictions_->stats("flights").labelled, 1);
  const auto frame = joined();
  EXPECT_EQ(frame.rows, 30u);
  expect_each_once(frame);
}

TEST_F(PredictionsTest, VersionsChangeUnderLoadWithoutAnError) {
  deploy();
  const std::int64_t second = approved(0.7F);
  std::atomic<bool> stop = false;
  std::atomic<int> answered = 0;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; !stop; ++i) {
        const auto answer = infer(ask({std::to_string(t) + "-" + std::to_string(i)}, 1'000'000));
        const double weight = answer && answer->versions[0] == second ? 0.7 : 0.5;
        const bool right = answer && std::abs(answer->probabilities[0] - sigmoid(weight * 12 + 1 - 5)) < 1e-6;
        (right ? answered : wrong) += 1;
      }
    });
  }
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 50, {}, ""}));
    ASSERT_TRUE(deployments_->promote(kMaker, "flights", 0, "round", {}));
    ASSERT_TRUE(deployments_->roll_back(kMaker, "flights", 0, "round", {}));
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(answered, 0);
  EXPECT_EQ(predictions_->stats("flights").rows, answered);
}

TEST_F(PredictionsTest, WhatIsStoppedAnswersNoMore) {
  deploy();
  const auto stopped = deployments_->stop(kMaker, "flights", "retired").value();
  ASSERT_TRUE(predictions_->wait_loaded("flights", stopped.revision, 10'000));
  EXPECT_EQ(infer(ask({"a"})).error().code, Code::kNotFound);
  EXPECT_TRUE(label({{"a", 1, 0}}));  // what was asked before may still become known
}

TEST_F(PredictionsTest, FindsOnePrediction) {
  deploy();
  ASSERT_TRUE(infer(ask({"a"}, 1'000'000, 9, "AA")));
  ASSERT_TRUE(label({{"a", 1, 0}}));
  const auto found = predictions_->find("flights", "a").value();
  EXPECT_EQ(found.version, 1);
  EXPECT_EQ(found.label, 1);
  EXPECT_EQ(found.features.at("carrier"), "AA");
  EXPECT_EQ(predictions_->find("flights", "b").error().code, Code::kNotFound);
  EXPECT_EQ(predictions_->checked_stats("nothing").error().code, Code::kNotFound);
}

}  // namespace
}  // namespace tidemill::predictions

// The test binary is its own shim and its own probe, as the server is.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (argc > 1 && std::string_view(argv[1]) == tidemill::runtimes::kProbeVerb)
    return tidemill::runtimes::probe_main(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
