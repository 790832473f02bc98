#include "flow/deployments/deployments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "flow/deployments/assignment.h"
#include "flow/deployments/steps.h"
#include "flow/models/fixture.h"
#include "jobs/shim.h"
#include "runtimes/probe.h"

namespace tidemill::deployments {
namespace {

using models::test::kApprover;
using models::test::kMaker;

class DeploymentsTest : public models::test::ModelsFixture {
 protected:
  void SetUp() override {
    ASSERT_TRUE(add_model("flight-delay"));
    deployments_ = make();
  }
  std::unique_ptr<Deployments> make() {
    return Deployments::create({*database_, *events_, *access_, *models_, clock_}).value();
  }

  // Registers, tests and approves the next version.
  std::int64_t approved(float weight) {
    const auto version = tested_version(flights_version({weight, 1.0F}, -5));
    EXPECT_TRUE(
        write([&](sql::Tx& tx) { return models_->approve(tx, kApprover, "flight-delay", version.number, "good"); }));
    return version.number;
  }
  std::int64_t tested(float weight) { return tested_version(flights_version({weight, 1.0F}, -5)).number; }
  std::int64_t untested(float weight) {
    return models_->add_version(kMaker, flights_version({weight, 1.0F}, -5)).value().number;
  }

  // Version 1, live as "flights".
  Deployment live() {
    return deployments_->add(kMaker, {"flights", "flight-delay", approved(0.5F), "", {}, {}}).value();
  }
  std::int64_t champion_alias() { return models_->resolve("flight-delay", models::kChampion).value_or(0); }
  Policy approved_policy(std::string_view name) {
    EXPECT_TRUE(deployments_->add_policy(kMaker, "flights", {std::string(name), 20, {}, "monthly"}));
    return deployments_->decide_policy(kApprover, "flights", name, true, "sensible").value();
  }
  Result<Release> release(std::int64_t version, std::string_view once_key, std::string_view policy = "monthly") {
    return deployments_->release(kMaker, "flights", policy, version, "drift of temp", once_key);
  }

  std::unique_ptr<Deployments> deployments_;
};

TEST_F(DeploymentsTest, OnlyApprovedVersionsServe) {
  for (const std::int64_t version : {untested(0.1F), tested(0.2F)}) {
    const auto added = deployments_->add(kMaker, {"flights", "flight-delay", version, "", {}, {}});
    ASSERT_FALSE(added);
    EXPECT_EQ(added.error().reason, "deployments.not_approved");
  }
  EXPECT_EQ(deployments_->add(kMaker, {"flights", "flight-delay", 99, "", {}, {}}).error().code, Code::kNotFound);
  EXPECT_EQ(deployments_->add(kMaker, {"../etc", "flight-delay", 1, "", {}, {}}).error().code, Code::kInvalidArgument);
  EXPECT_TRUE(deployments_->list().value().empty());
  EXPECT_TRUE(deployments_->snapshot()->empty());
  EXPECT_EQ(champion_alias(), 0);
}

TEST_F(DeploymentsTest, AReleaseSetsTheAliasAndTheSnapshot) {
  int woken = 0;
  deployments_->on_change([&] { ++woken; });
  const Deployment deployment = live();
  EXPECT_EQ(deployment.champion, 1);
  EXPECT_EQ(deployment.revision, 1);
  EXPECT_EQ(champion_alias(), 1);
  EXPECT_EQ(deployments_->snapshot()->at("flights").champion, 1);
  EXPECT_EQ(last_event().kind, "deployments.released");
  EXPECT_EQ(woken, 1);
  EXPECT_EQ(deployments_->add(kMaker, {"flights", "flight-delay", 1, "", {}, {}}).error().code, Code::kAlreadyExists);
}

TEST_F(DeploymentsTest, ACanaryIsPromotedWithItsAlias) {
  live();
  const std::int64_t second = approved(0.7F);
  const auto before = deployments_->snapshot();
  ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 25, {500, 0.02}, "better"}));
  EXPECT_EQ(champion_alias(), 1);
  EXPECT_EQ(before->at("flights").candidate.has_value(), false);  // a snapshot that is held does not move
  EXPECT_EQ(deployments_->snapshot()->at("flights").candidate->version, second);
  EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {second, 25, {}, ""}).error().reason,
            "deployments.canary_runs");
  EXPECT_EQ(deployments_->promote(kMaker, "flights", 77, "good", {}).error().code, Code::kConflict);
  EXPECT_EQ(deployments_->promote(kMaker, "flights", second, "", {}).error().reason, "deployments.no_reason");
  const auto promoted = deployments_->promote(kMaker, "flights", second, "as good", {{"auc", 0.7}});
  ASSERT_TRUE(promoted);
  EXPECT_EQ(promoted->champion, second);
  EXPECT_FALSE(promoted->candidate);
  EXPECT_EQ(champion_alias(), second);
  EXPECT_EQ(deployments_->promote(kMaker, "flights", 0, "again", {}).error().reason, "deployments.no_candidate");
}

TEST_F(DeploymentsTest, RollingBackEndsTheCanaryOrThePromotion) {
  live();
  const std::int64_t second = approved(0.7F);
  ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 25, {}, ""}));
  const auto out = deployments_->roll_back(kMaker, "flights", second, "worse", {});
  ASSERT_TRUE(out);
  EXPECT_EQ(out->champion, 1);
  EXPECT_FALSE(out->candidate);
  EXPECT_EQ(deployments_->roll_back(kMaker, "flights", 0, "again", {}).error().reason, "deployments.nothing_before");

  ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 25, {}, ""}));
  ASSERT_TRUE(deployments_->promote(kMaker, "flights", 0, "fine", {}));
  const auto back = deployments_->roll_back(kMaker, "flights", second, "wrong on holidays", {});
  ASSERT_TRUE(back);
  EXPECT_EQ(back->champion, 1);
  EXPECT_EQ(champion_alias(), 1);
}

TEST_F(DeploymentsTest, CanariesOutOfRangeAreRefused) {
  live();
  const std::int64_t second = approved(0.7F);
  for (const std::int64_t percent : {-1, 0, 100, 101}) {
    EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {second, percent, {}, ""}).error().reason,
              "deployments.bad_percent")
        << percent;
  }
  for (const CanaryRule rule : {CanaryRule{19, 0.01}, CanaryRule{100, -0.1}, CanaryRule{100, 1}}) {
    EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {second, 10, rule, ""}).error().reason,
              "deployments.bad_rule");
  }
  EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {1, 10, {}, ""}).error().reason, "deployments.same_version");
  EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {tested(0.8F), 10, {}, ""}).error().reason,
            "deployments.not_approved");
  EXPECT_EQ(deployments_->snapshot()->at("flights").revision, 1);
}

TEST_F(DeploymentsTest, TellsWhatWasLiveWhen) {
  clock_.advance_ms(1'000);
  const std::int64_t before_ms = clock_.now_ms();
  clock_.advance_ms(1'000);
  live();
  const std::int64_t released_ms = clock_.now_ms();
  const std::int64_t second = approved(0.7F);
  clock_.advance_ms(1'000);
  ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 25, {}, "drift"}));
  clock_.advance_ms(1'000);
  ASSERT_TRUE(deployments_->promote(kMaker, "flights", 0, "fine", {}));
  const std::int64_t promoted_ms = clock_.now_ms();
  clock_.advance_ms(1'000);
  ASSERT_TRUE(deployments_->stop(kMaker, "flights", "retired"));
  const auto at = [&](std::int64_t ms) { return deployments_->champion_at("flights", ms).value(); };
  EXPECT_EQ(at(before_ms), 0);
  EXPECT_EQ(at(released_ms - 1), 0);
  EXPECT_EQ(at(released_ms), 1);
  EXPECT_EQ(at(promoted_ms - 1), 1);
  EXPECT_EQ(at(promoted_ms), second);
  EXPECT_EQ(at(clock_.now_ms()), 0);
  std::vector<std::string> kinds;
  for (const auto& entry : deployments_->history("flights").value()) kinds.push_back(entry.kind);
  EXPECT_EQ(kinds, (std::vector<std::string>{"released", "canary_started", "promoted", "stopped"}));
  EXPECT_EQ(deployments_->start_canary(kMaker, "flights", {1, 25, {}, ""}).error().reason, "deployments.stopped");
}

TEST_F(DeploymentsTest, ARestartBringsTheSameStateBack) {
  live();
  const std::int64_t second = approved(0.7F);
  ASSERT_TRUE(deployments_->set_shadows(kMaker, "flights", {second}));
  ASSERT_TRUE(deployments_->start_canary(kMaker, "flights", {second, 25, {300, 0.05}, "why"}));
  const Deployment before = deployments_->snapshot()->at("flights");
  deployments_ = make();
  EXPECT_EQ(json::encode(deployments_->snapshot()->at("flights")), json::encode(before));
}

TEST_F(DeploymentsTest, ShadowsMayBeUnapprovedButNotRejected) {
  live();
  const std::int64_t shadow = tested(0.9F);
  EXPECT_TRUE(deployments_->set_shadows(kMaker, "flights", {shadow}));
  EXPECT_EQ(deployments_->set_shadows(kMaker, "flights", {99}).error().code, Code::kNotFound);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->reject(tx, kApprover, "flight-delay", shadow, "bad"); }));
  EXPECT_EQ(deployments_->set_shadows(kMaker, "flights", {shadow}).error().reason, "deployments.bad_shadow");
  EXPECT_EQ(deployments_->set_shadows(kMaker, "flights", std::vector<std::int64_t>(9, 1)).error().reason,
            "deployments.many_shadows");
}

TEST_F(DeploymentsTest, APolicyNeedsASecondPerson) {
  live();
  ASSERT_TRUE(deployments_->add_policy(kMaker, "flights", {"monthly", 20, {}, ""}));
  EXPECT_EQ(release(tested(0.6F), "run/1").error().reason, "policies.not_approved");
  const access::Actor both{"maria", {access::Role::modeller, access::Role::approver}};
  EXPECT_EQ(deployments_->decide_policy(both, "flights", "monthly", true, "mine").error().code,
            Code::kPermissionDenied);
  EXPECT_EQ(deployments_->decide_policy(kApprover, "flights", "monthly", true, "ok").value().state,
            PolicyState::approved);
  EXPECT_EQ(deployments_->policies("flights").value().at(0).decided_by, "anton");
  EXPECT_EQ(deployments_->add_policy(kMaker, "flights", {"monthly", 20, {}, ""}).error().code, Code::kAlreadyExists);
}

TEST_F(DeploymentsTest, UnderAPolicyOnlyAPassedGateIsReleased) {
  live();
  approved_policy("monthly");
  const std::int64_t failed = untested(0.6F);
  EXPECT_EQ(release(failed, "run/0").value().outcome, "gate_not_passed");
  EXPECT_FALSE(deployments_->snapshot()->at("flights").candidate);

  const std::int64_t passed = tested(0.7F);
  const auto released = release(passed, "run/1");
  ASSERT_TRUE(released);
  EXPECT_EQ(released->outcome, "canary_started");
  const auto version = models_->version("flight-delay", passed).value();
  EXPECT_EQ(version.state, models::State::approved);
  EXPECT_EQ(version.decided_by, "policy/monthly");
  const auto candidate = deployments_->snapshot()->at("flights").candidate;
  ASSERT_TRUE(candidate);
  EXPECT_EQ(candidate->percent, 20);
  EXPECT_EQ(candidate->cause, "drift of temp");
}

TEST_F(DeploymentsTest, ReleasingTwiceIsReleasingOnce) {
  live();
  approved_policy("monthly");
  const std::int64_t version = tested(0.7F);
  ASSERT_TRUE(release(version, "run/1"));
  const std::int64_t events_before = last_event().seq;
  const auto again = release(version, "run/1");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->outcome, "canary_started");
  EXPECT_EQ(last_event().seq, events_before);
  EXPECT_EQ(release(tested(0.8F), "run/2").error().reason, "deployments.canary_runs");
}

TEST_F(DeploymentsTest, TheStepChecksWhatItIsGiven) {
  live();
  approved_policy("monthly");
  pipelines::BuiltinCall call;
  call.run = pipelines::PipelineRunId::generate();
  call.step = "release";
  call.actor = kMaker;
  call.with = {{"deployment", "flights"}, {"policy", "monthly"}};
  EXPECT_EQ(release_step(*deployments_, call).error().reason, "deployments.incomplete_step");
  call.with["version"] = tested(0.7F);
  call.with["model"] = "another";
  EXPECT_EQ(release_step(*deployments_, call).error().reason, "deployments.other_model");
  call.with["model"] = "flight-delay";
  ASSERT_TRUE(release_step(*deployments_, call));
  EXPECT_EQ(release_step(*deployments_, call).value().at("outcome"), "canary_started");  // the same again
  call.with["colour"] = "blue";
  EXPECT_EQ(release_step(*deployments_, call).error().code, Code::kInvalidArgument);
}

Deployment with_canary(std::int64_t version, std::int64_t percent) {
  Deployment deployment;
  deployment.champion = 1;
  deployment.candidate = Candidate{version, percent, {}, 0, ""};
  return deployment;
}

TEST(AssignmentTest, GivesTheCandidateItsShare) {
  constexpr int kIds = 100'000;
  for (const std::int64_t percent : {1, 10, 50, 99}) {
    const Deployment deployment = with_canary(7, percent);
    int candidates = 0;
    for (int i = 0; i < kIds; ++i) candidates += assign(deployment, "2013-03-01/UA/" + std::to_string(i)) == 7 ? 1 : 0;
    const double share = 100.0 * candidates / kIds;
    EXPECT_NEAR(share, static_cast<double>(percent), 0.6) << percent;  // 3.8 standard deviations at 50 %
  }
}

TEST(AssignmentTest, IsStickyAndKnownForEver) {
  const Deployment deployment = with_canary(2, 50);
  for (int i = 0; i < 1000; ++i) {
    const std::string id = std::to_string(i);
    EXPECT_EQ(assign(deployment, id), assign(with_canary(2, 50), id));
    // Whoever met the candidate at a smaller share still meets it at a larger one.
    if (assign(with_canary(2, 20), id) == 2) EXPECT_EQ(assign(deployment, id), 2);
  }
  // Written down: a change of the hash would send running canaries' callers to another version.
  std::string drawn;
  for (int i = 0; i < 16; ++i) drawn += assign(deployment, std::to_string(i)) == 2 ? 'c' : '-';
  EXPECT_EQ(drawn, "ccc--c---ccccc-c");
}

TEST(AssignmentTest, DrawsAnewForAnotherCandidate) {
  int same = 0;
  for (int i = 0; i < 10'000; ++i) {
    const std::string id = std::to_string(i);
    same += (assign(with_canary(2, 50), id) == 2) == (assign(with_canary(3, 50), id) == 3) ? 1 : 0;
  }
  EXPECT_NEAR(same, 5'000, 250);
}

TEST(AssignmentTest, WithoutACandidateTheChampionAnswers) {
  Deployment deployment;
  deployment.champion = 4;
  EXPECT_EQ(assign(deployment, "x"), 4);
}

}  // namespace
}  // namespace tidemill::deployments

// The test binary is its own shim and its own probe, as the server is.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (argc > 1 && std::string_view(argv[1]) == tidemill::runtimes::kProbeVerb)
    return tidemill::runtimes::probe_main(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
