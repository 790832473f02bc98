#include "flow/requirements/requirements.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/files.h"
#include "flow/requirements/metrics.h"

namespace tidemill::requirements {
namespace {

const access::Actor kAlice{"alice", {access::Role::modeller}};

NewRequirement late_flights() {
  NewRequirement requirement;
  requirement.name = "late-flights";
  requirement.goal = "Warn passengers whose flight will be late";
  requirement.owner = "operations";
  requirement.rules = {
      {"auc", ">=", 0.68, On::newest_window}, {"brier", "<=", 0.2, On::gate}, {"rows", ">=", 500, On::live}};
  return requirement;
}

class RequirementsTest : public ::testing::Test {
 protected:
  const TemporaryFolder folder_ = TemporaryFolder::create().value();
  const std::unique_ptr<sql::Database> database_ = sql::Database::open(folder_.path() / "db").value();
  const FakeClock clock_;
  const std::unique_ptr<events::Events> events_ = events::Events::create(*database_, clock_).value();
  const std::unique_ptr<Requirements> room_ = Requirements::create(*database_, *events_, clock_).value();

  Error refusal(const NewRequirement& requirement) { return room_->add(kAlice, requirement).error(); }
  std::vector<events::Event> events() { return events_->read({}).value(); }
};

TEST_F(RequirementsTest, IsKeptAsItWasGiven) {
  const Requirement added = room_->add(kAlice, late_flights()).value();
  const Requirement got = room_->get("late-flights").value();
  EXPECT_EQ(json::encode(got), json::encode(added));
  EXPECT_EQ(got.revision, 1);
  EXPECT_EQ(got.state, State::active);
  EXPECT_EQ(got.made_by, "alice");
  EXPECT_EQ(got.rules[1].metric, "brier");
  EXPECT_EQ(got.rules[1].on, On::gate);
  ASSERT_EQ(events().size(), 1u);
  EXPECT_EQ(events()[0].kind, "requirements.created");
  EXPECT_EQ(events()[0].subject, "requirements/late-flights/1");
}

TEST_F(RequirementsTest, ANameIsTakenOnce) {
  ASSERT_TRUE(room_->add(kAlice, late_flights()));
  EXPECT_EQ(refusal(late_flights()).code, Code::kAlreadyExists);
  EXPECT_EQ(events().size(), 1u);  // the refused one left nothing
}

TEST_F(RequirementsTest, RevisionsSupersedeAndStayReadable) {
  ASSERT_TRUE(room_->add(kAlice, late_flights()));
  NewRequirement stricter = late_flights();
  stricter.rules[0].value = 0.7;
  EXPECT_EQ(room_->revise(kAlice, stricter, 7).error().code, Code::kConflict);
  ASSERT_TRUE(room_->revise(kAlice, stricter, 1));
  const auto revisions = room_->revisions("late-flights").value();
  ASSERT_EQ(revisions.size(), 2u);
  EXPECT_EQ(revisions[0].revision, 2);
  EXPECT_EQ(revisions[0].state, State::active);
  EXPECT_EQ(revisions[0].rules[0].value, 0.7);
  EXPECT_EQ(revisions[1].state, State::superseded);
  EXPECT_EQ(revisions[1].rules[0].value, 0.68);
  EXPECT_EQ(room_->list()->size(), 1u);
  EXPECT_EQ(events().back().payload.at("before").at("revision"), 1);
}

TEST_F(RequirementsTest, ARetiredOneCannotJudgeNorBeRevised) {
  ASSERT_TRUE(room_->add(kAlice, late_flights()));
  EXPECT_EQ(room_->retire(kAlice, "late-flights", "").error().code, Code::kInvalidArgument);
  ASSERT_TRUE(room_->retire(kAlice, "late-flights", "the airline has its own"));
  EXPECT_EQ(room_->get("late-flights")->state, State::retired);
  EXPECT_EQ(room_->active("late-flights").error().code, Code::kFailedPrecondition);
  EXPECT_EQ(room_->revise(kAlice, late_flights(), std::nullopt).error().code, Code::kFailedPrecondition);
  ASSERT_TRUE(room_->retire(kAlice, "late-flights", "again"));  // and no second event
  EXPECT_EQ(events().size(), 2u);
}

TEST_F(RequirementsTest, UnknownOnesAreNotFound) {
  EXPECT_EQ(room_->get("x").error().code, Code::kNotFound);
  EXPECT_EQ(room_->revisions("x").error().code, Code::kNotFound);
  EXPECT_EQ(room_->revise(kAlice, late_flights(), std::nullopt).error().code, Code::kNotFound);
  EXPECT_EQ(room_->retire(kAlice, "x", "why").error().code, Code::kNotFound);
}

TEST_F(RequirementsTest, BadRulesAreRefusedByName) {
  const auto with = [](Rule rule) {
    NewRequirement requirement = late_flights();
    requirement.rules = {std::move(rule)};
    return requirement;
  };
  EXPECT_NE(refusal(with({"acu", ">=", 0.7})).message.find("'acu'"), std::string::npos);
  EXPECT_NE(refusal(with({"auc", "=>", 0.7})).message.find("'=>'"), std::string::npos);
  EXPECT_NE(refusal(with({"auc", ">=", 1.5})).message.find("0..1"), std::string::npos);
  EXPECT_NE(refusal(with({"auc", "<=", 0.7})).message.find("worse model"), std::string::npos);
  EXPECT_NE(refusal(with({"brier", ">", 0.1})).message.find("worse model"), std::string::npos);
  EXPECT_EQ(refusal(with({"log_loss", "<=", std::numeric_limits<double>::infinity()})).code, Code::kInvalidArgument);
  EXPECT_EQ(refusal(with({"auc", ">=", std::numeric_limits<double>::quiet_NaN()})).code, Code::kInvalidArgument);
  NewRequirement none = late_flights();
  none.rules.clear();
  EXPECT_EQ(refusal(none).code, Code::kInvalidArgument);
  none = late_flights();
  none.owner.clear();
  EXPECT_NE(refusal(none).message.find("owner"), std::string::npos);
  none = late_flights();
  none.name = "../x";
  EXPECT_EQ(refusal(none).code, Code::kInvalidArgument);
  EXPECT_TRUE(events().empty());
}

TEST_F(RequirementsTest, LimitsHoldAtTheLimitAndOnePast) {
  NewRequirement requirement = late_flights();
  requirement.rules.assign(kRulesMax, {"auc", ">=", 0.5});
  requirement.goal.assign(kTextBytesMax, 'g');
  EXPECT_TRUE(room_->add(kAlice, requirement));
  requirement.name = "more";
  requirement.rules.push_back({"auc", ">=", 0.5});
  EXPECT_EQ(refusal(requirement).code, Code::kTooLarge);
  requirement.rules.pop_back();
  requirement.goal += 'g';
  EXPECT_EQ(refusal(requirement).code, Code::kTooLarge);
}

Requirement with_rules(std::vector<Rule> rules) {
  Requirement requirement;
  requirement.rules = std::move(rules);
  return requirement;
}

TEST(Evaluate, JudgesEachOperatorAtItsLimit) {
  const Metrics metrics{{"auc", 0.7}, {"brier", 0.2}};
  const auto met = [&](Rule rule) { return evaluate(with_rules({std::move(rule)}), metrics, On::gate).at(0).met; };
  EXPECT_TRUE(met({"auc", ">=", 0.7}));
  EXPECT_FALSE(met({"auc", ">", 0.7}));
  EXPECT_TRUE(met({"auc", ">", 0.69}));
  EXPECT_TRUE(met({"brier", "<=", 0.2}));
  EXPECT_FALSE(met({"brier", "<", 0.2}));
}

TEST(Evaluate, TakesTheRulesOfThePlace) {
  const Requirement requirement =
      with_rules({{"auc", ">=", 0.7, On::newest_window}, {"brier", "<=", 0.2, On::gate}, {"rows", ">=", 10, On::live}});
  const auto names = [&](On place) {
    std::string text;
    for (const Verdict& verdict : evaluate(requirement, {}, place)) text += verdict.rule.metric + " ";
    return text;
  };
  EXPECT_EQ(names(On::gate), "auc brier ");
  EXPECT_EQ(names(On::live), "auc rows ");
}

TEST(Evaluate, WhatIsNotKnownIsNotMet) {
  const Requirement requirement = with_rules({{"auc", ">=", 0.0}, {"brier", "<=", 1.0}});
  const auto verdicts = evaluate(requirement, {{"auc", std::numeric_limits<double>::quiet_NaN()}}, On::gate);
  EXPECT_FALSE(verdicts[0].met);
  EXPECT_FALSE(verdicts[0].value);
  EXPECT_FALSE(verdicts[1].met);
  EXPECT_FALSE(all_met(verdicts));
  EXPECT_EQ(describe_misses(verdicts), "auc was not measured; brier was not measured");
  EXPECT_EQ(describe_misses(evaluate(requirement, {{"auc", 0.5}, {"brier", 0.1}}, On::gate)), "");
}

TEST(Metrics, EachHasAFormulaAndARange) {
  for (const Metric& metric : known_metrics()) {
    EXPECT_FALSE(metric.formula.empty());
    EXPECT_LT(metric.low, metric.high);
    EXPECT_EQ(find_metric(metric.name), &metric);
  }
  EXPECT_EQ(find_metric("AUC"), nullptr);
}

}  // namespace
}  // namespace tidemill::requirements
