#include "flow/models/models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "flow/models/events.h"
#include "flow/models/fixture.h"
#include "jobs/shim.h"

namespace tidemill::models {
namespace {

using test::kApprover;
using test::kMaker;

class ModelsTest : public test::ModelsFixture {
 protected:
  Result<Version> approve(const access::Actor& actor, std::int64_t number,
                          std::string_view reason = "looked at the slices") {
    return write([&](sql::Tx& tx) { return models_->approve(tx, actor, "flight-delay", number, reason); });
  }
  Result<Version> set_state(std::int64_t number, State state) {
    return write(
        [&](sql::Tx& tx) { return models_->set_state(tx, kMaker, "flight-delay", number, state, "a reason"); });
  }
  Result<void> set_alias(std::string_view alias, std::int64_t number) {
    return write([&](sql::Tx& tx) { return models_->set_alias(tx, kMaker, "flight-delay", alias, number); });
  }
  Model model(std::string_view name) {
    return database_->read([&](sql::Tx& tx) { return models_->model(tx, name); }).value();
  }
};

TEST_F(ModelsTest, NamesMayBeAnythingThatIsNoPath) {
  for (const char* good : {"flight-delay", "with space", "航班延误", "a.b_c", "..."})
    EXPECT_TRUE(add_model(good)) << good;
  for (const std::string& bad : std::vector<std::string>{"", ".", "..", "a/b", "a:b", "a\nb", std::string(257, 'x')}) {
    EXPECT_EQ(add_model(bad).error().code, Code::kInvalidArgument) << bad;
  }
  EXPECT_TRUE(add_model(std::string(256, 'x')));
  EXPECT_EQ(add_model("with space").error().code, Code::kAlreadyExists);
}

TEST_F(ModelsTest, AModelCanBeDescribedTaggedAndRenamed) {
  ASSERT_TRUE(add_model("a"));
  ASSERT_TRUE(add_model("taken"));
  clock_.advance_ms(5);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->describe_model(tx, kMaker, "a", "late flights"); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->tag_model(tx, kMaker, "a", "team", "ops"); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->tag_model(tx, kMaker, "a", "team", "ml"); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->tag_model(tx, kMaker, "a", "x", ""); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->tag_model(tx, kMaker, "a", "x", std::nullopt); }));
  EXPECT_EQ(write([&](sql::Tx& tx) { return models_->rename_model(tx, kMaker, "a", "taken"); }).error().code,
            Code::kAlreadyExists);
  NewVersion version;
  version.model = "a";
  ASSERT_TRUE(models_->add_version(kMaker, version));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->rename_model(tx, kMaker, "a", "b"); }));
  const Model renamed = model("b");
  EXPECT_EQ(renamed.description, "late flights");
  EXPECT_EQ(renamed.tags, (Tags{{"team", "ml"}}));
  EXPECT_EQ(renamed.updated_ms, renamed.made_ms + 5);
  EXPECT_EQ(models_->version("b", 1)->model, "b");
  EXPECT_EQ(models_->version("a", 1).error().reason, "models.unknown");
  EXPECT_EQ(last_event().subject, "models/b");
}

TEST_F(ModelsTest, DeletingHidesAndNumbersGoOn) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_EQ(models_->add_version(kMaker, flights_version())->number, 1);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->delete_version(tx, kMaker, "flight-delay", 1); }));
  EXPECT_EQ(models_->version("flight-delay", 1).error().code, Code::kNotFound);
  EXPECT_EQ(models_->add_version(kMaker, flights_version())->number, 2);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->delete_model(tx, kMaker, "flight-delay"); }));
  EXPECT_EQ(models_->version("flight-delay", 2).error().reason, "models.unknown");
  ASSERT_TRUE(add_model("flight-delay"));
  EXPECT_EQ(model("flight-delay").newest, 0);
  EXPECT_EQ(models_->add_version(kMaker, flights_version())->number, 3);
}

TEST_F(ModelsTest, AVersionIsItsContent) {
  ASSERT_TRUE(add_model("flight-delay"));
  const Version first = models_->add_version(kMaker, flights_version()).value();
  NewVersion words = flights_version();
  words.description = "the same, described";
  words.tags = {{"k", "v"}};
  words.run_id = "r";
  EXPECT_EQ(models_->add_version(kMaker, words)->digest, first.digest);
  EXPECT_NE(models_->add_version(kMaker, flights_version({0.5F, 1.5F}))->digest, first.digest);
  NewVersion other_columns = flights_version();
  std::swap(other_columns.signature.columns[0], other_columns.signature.columns[1]);
  EXPECT_NE(models_->add_version(kMaker, other_columns)->digest, first.digest);

  const VersionDetail detail = models_->detail("flight-delay", 2).value();
  EXPECT_EQ(detail.number, 2);
  EXPECT_EQ(detail.tags, (Tags{{"k", "v"}}));
  EXPECT_EQ(detail.inputs.at(0).name, "input");
  EXPECT_EQ(detail.columns.at(1).categories, (std::vector<std::string>{"AA", "UA"}));
  EXPECT_EQ(detail.made_by, "maria");
  EXPECT_EQ(last_event().kind, events_of::kVersionRegistered);
}

TEST_F(ModelsTest, TheSameStepRegistersOnce) {
  ASSERT_TRUE(add_model("flight-delay"));
  NewVersion version = flights_version();
  version.once_key = "run/register";
  const Version first = models_->add_version(kMaker, version).value();
  EXPECT_EQ(models_->add_version(kMaker, version)->number, first.number);
  version.once_key = "other/register";
  EXPECT_EQ(models_->add_version(kMaker, version)->number, 2);
}

TEST_F(ModelsTest, WhatDoesNotFitIsRefusedAndLeavesNothing) {
  ASSERT_TRUE(add_model("flight-delay"));
  const auto before = event_kinds().size();
  const auto refusal = [&](auto&& change) {
    NewVersion version = flights_version();
    change(version);
    return models_->add_version(kMaker, version).error();
  };
  EXPECT_EQ(refusal([](auto& v) { v.model = "other"; }).code, Code::kNotFound);
  EXPECT_EQ(refusal([](auto& v) { v.files["x"] = {std::string(64, 'a'), 1}; }).code, Code::kInvalidArgument);
  EXPECT_EQ(refusal([](auto& v) { v.files["x"] = {"../../etc", 1}; }).code, Code::kInvalidArgument);
  EXPECT_EQ(refusal([&](auto& v) { v.files["../x"] = put("x"); }).code, Code::kInvalidArgument);
  EXPECT_EQ(refusal([](auto& v) { v.onnx = "other.onnx"; }).code, Code::kInvalidArgument);
  EXPECT_EQ(refusal([](auto& v) { v.parity->onnx = std::string(64, 'b'); }).reason, "models.parity_of_another_file");
  EXPECT_NE(refusal([](auto& v) {
              v.signature.columns.pop_back();
            }).message.find("takes 2 columns, but columns.json lists 1"),
            std::string::npos);
  EXPECT_EQ(refusal([&](auto& v) { v.parity.reset(), v.files["model.onnx"] = put("no model"); }).reason,
            "runtimes.model_invalid");
  EXPECT_EQ(event_kinds().size(), before);
  EXPECT_EQ(model("flight-delay").newest, 0);
}

TEST_F(ModelsTest, AVersionWithoutFilesIsARecordOnly) {
  ASSERT_TRUE(add_model("m"));
  NewVersion version;
  version.model = "m";
  version.source = "runs:/0/model";
  ASSERT_TRUE(models_->add_version(kMaker, version));
  EXPECT_EQ(models_->onnx_file("m", 1).error().code, Code::kFailedPrecondition);
  EXPECT_EQ(models_->scorer("m", 1).error().code, Code::kFailedPrecondition);
}

TEST_F(ModelsTest, OnlyATestedVersionIsApprovedAndByAnotherPerson) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_TRUE(models_->add_version(kMaker, flights_version()));
  EXPECT_EQ(approve(kApprover, 1).error().reason, "models.wrong_state");  // not tested yet
  tested_version(flights_version());
  const access::Actor self{"maria", {access::Role::approver, access::Role::admin}};
  EXPECT_EQ(approve(self, 2).error().reason, "access.same_person");
  EXPECT_EQ(approve(kMaker, 2).error().code, Code::kPermissionDenied);
  EXPECT_EQ(approve(kApprover, 2, "").error().code, Code::kInvalidArgument);
  EXPECT_EQ(models_->version("flight-delay", 2)->state, State::tested);  // nothing of it stayed
  const Version approved = approve(kApprover, 2).value();
  EXPECT_EQ(approved.state, State::approved);
  EXPECT_EQ(approved.decided_by, "anton");
  EXPECT_EQ(approve(kApprover, 2).error().reason, "models.wrong_state");
  EXPECT_EQ(last_event().kind, events_of::kApproved);
}

TEST_F(ModelsTest, WhoAsksCannotAnswer) {
  ASSERT_TRUE(add_model("flight-delay"));
  tested_version(flights_version());
  const auto ask = [&] {
    return write([&](sql::Tx& tx) { return models_->request_approval(tx, kApprover, "flight-delay", 1); });
  };
  const auto first = ask().value();
  EXPECT_EQ(ask()->id, first.id);
  EXPECT_EQ(first.evidence.at("gate").at("reason"), "for a test");
  EXPECT_EQ(approve(kApprover, 1).error().reason, "access.same_person");
  EXPECT_TRUE(approve({"berta", {access::Role::approver}}, 1));
}

TEST_F(ModelsTest, LocalCannotApproveItsOwn) {
  ASSERT_TRUE(add_model("flight-delay"));
  const Version made = models_->add_version(access::local_actor(), flights_version()).value();
  GateReport passed;
  passed.passed = true;
  ASSERT_TRUE(models_->add_gate_report(access::local_actor(), made.model, made.number, passed));
  EXPECT_EQ(approve(access::local_actor(), 1).error().reason, "access.same_person");
  EXPECT_TRUE(approve(kApprover, 1));
}

TEST_F(ModelsTest, APolicyApprovesInItsOwnName) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_TRUE(models_->add_version(kMaker, flights_version()));
  const auto by_policy = [&] {
    return write(
        [&](sql::Tx& tx) { return models_->approve_by_policy(tx, "monthly", "flight-delay", 1, "the gate passed"); });
  };
  EXPECT_EQ(by_policy().error().reason, "models.wrong_state");  // a policy cannot replace the gate
  GateReport passed;
  passed.passed = true;
  ASSERT_TRUE(models_->add_gate_report(kMaker, "flight-delay", 1, passed));
  EXPECT_EQ(by_policy()->decided_by, "policy/monthly");
  EXPECT_EQ(by_policy()->state, State::approved);  // again: as it is
  const auto kinds = event_kinds();
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), std::string(events_of::kApproved)), 1);
}

TEST_F(ModelsTest, TheNewestGateReportCounts) {
  ASSERT_TRUE(add_model("flight-delay"));
  tested_version(flights_version());
  GateReport failed;
  failed.reason = "worse on newer rows";
  EXPECT_EQ(models_->add_gate_report(kMaker, "flight-delay", 1, failed)->state, State::candidate);
  EXPECT_EQ(last_event().kind, events_of::kGateFailed);
  GateReport passed;
  passed.passed = true;
  passed.pipeline_run = "r";
  passed.step = "gate";
  EXPECT_EQ(models_->add_gate_report(kMaker, "flight-delay", 1, passed)->state, State::tested);
  const auto events = event_kinds().size();
  ASSERT_TRUE(models_->add_gate_report(kMaker, "flight-delay", 1, passed));  // the same step again
  EXPECT_EQ(event_kinds().size(), events);
  EXPECT_EQ(models_->detail("flight-delay", 1)->tests.size(), 3u);
}

TEST_F(ModelsTest, StatesMoveOnlyAlongTheirArrows) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_TRUE(models_->add_version(kMaker, flights_version()));
  for (const State state : {State::tested, State::approved, State::rejected}) {
    EXPECT_EQ(set_state(1, state).error().reason, "models.wrong_state") << enum_name(state);
  }
  EXPECT_EQ(set_state(1, State::archived)->state, State::archived);
  EXPECT_EQ(set_state(1, State::candidate)->state, State::candidate);
  tested_version(flights_version());
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->reject(tx, kApprover, "flight-delay", 2, "worse on JFK"); }));
  EXPECT_EQ(approve(kApprover, 2).error().reason, "models.wrong_state");
  EXPECT_EQ(models_->version("flight-delay", 2)->decided_reason, "worse on JFK");
  EXPECT_EQ(set_state(2, State::archived)->state, State::archived);
}

TEST_F(ModelsTest, AliasesPointAndTheChampionIsApproved) {
  ASSERT_TRUE(add_model("flight-delay"));
  tested_version(flights_version());
  tested_version(flights_version());
  EXPECT_EQ(set_alias("champion", 1).error().reason, "models.not_approved");
  ASSERT_TRUE(approve(kApprover, 1));
  ASSERT_TRUE(set_alias("champion", 1));
  ASSERT_TRUE(set_alias("challenger", 2));
  const auto events = event_kinds().size();
  ASSERT_TRUE(set_alias("challenger", 2));  // nothing changes
  EXPECT_EQ(event_kinds().size(), events);
  EXPECT_EQ(models_->resolve("flight-delay", "champion").value(), 1);
  EXPECT_EQ(model("flight-delay").aliases, (std::map<std::string, std::int64_t>{{"challenger", 2}, {"champion", 1}}));
  EXPECT_EQ(models_->version("flight-delay", 2)->aliases, (std::vector<std::string>{"challenger"}));
  EXPECT_EQ(set_state(1, State::archived).error().reason, "models.in_use");
  EXPECT_EQ(write([&](sql::Tx& tx) { return models_->delete_version(tx, kMaker, "flight-delay", 1); }).error().code,
            Code::kFailedPrecondition);
  EXPECT_EQ(write([&](sql::Tx& tx) { return models_->delete_model(tx, kMaker, "flight-delay"); }).error().code,
            Code::kFailedPrecondition);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return models_->delete_alias(tx, kMaker, "flight-delay", "challenger"); }));
  EXPECT_EQ(models_->resolve("flight-delay", "challenger").error().code, Code::kNotFound);
  for (const char* bad : {"", "7", "v7", "V12", "latest", "a b", "ü"})
    EXPECT_EQ(set_alias(bad, 1).error().code, Code::kInvalidArgument) << bad;
}

TEST_F(ModelsTest, ListsFilterAndSort) {
  for (const char* name : {"b", "a", "c"}) ASSERT_TRUE(add_model(name));
  NewVersion version;
  for (const char* name : {"a", "b", "b"}) {
    version.model = name;
    version.run_id = std::string("run-of-") + name;
    clock_.advance_ms(1);
    ASSERT_TRUE(models_->add_version(kMaker, version));
  }
  const auto numbers = [&](std::string_view model, std::function<bool(const Version&)> keep = {}) {
    std::string text;
    const auto versions = database_->read([&](sql::Tx& tx) { return models_->list_versions(tx, model, keep); }).value();
    for (const Version& v : versions) text += v.model + std::to_string(v.number) + " ";
    return text;
  };
  EXPECT_EQ(numbers("b"), "b2 b1 ");
  EXPECT_EQ(numbers(""), "b2 b1 a1 ");
  EXPECT_EQ(numbers("", [](const Version& v) { return v.run_id == "run-of-a"; }), "a1 ");
  EXPECT_EQ(numbers("c"), "");
  const auto models = database_->read([&](sql::Tx& tx) { return models_->list_models(tx); }).value();
  ASSERT_EQ(models.size(), 3u);
  EXPECT_EQ(models[0].name, "a");
  EXPECT_EQ(models[1].newest, 2);
  EXPECT_EQ(database_->read([&](sql::Tx& tx) { return models_->list_versions(tx, "zz"); }).error().code,
            Code::kNotFound);
}

TEST_F(ModelsTest, StagesOfOldClients) {
  ASSERT_TRUE(add_model("flight-delay"));
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(models_->add_version(kMaker, flights_version()));
  const auto stage = [&](std::int64_t number, Stage to, bool archive) {
    return write([&](sql::Tx& tx) { return models_->set_stage(tx, kMaker, "flight-delay", number, to, archive); })
        ->stage;
  };
  EXPECT_EQ(stage(1, Stage::Production, false), Stage::Production);
  EXPECT_EQ(stage(2, Stage::Production, true), Stage::Production);
  EXPECT_EQ(models_->version("flight-delay", 1)->stage, Stage::Archived);
}

TEST_F(ModelsTest, TheModelFileIsCheckedAndTheScorerShared) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_TRUE(models_->add_version(kMaker, flights_version({1.0F, 0.0F}, 0)));
  const auto file = models_->onnx_file("flight-delay", 1).value();
  std::filesystem::permissions(file, std::filesystem::perms::owner_write, std::filesystem::perm_options::add);
  std::ofstream(file, std::ios::app) << "x";  // the cache is damaged: unpacked anew
  const auto scorer = models_->scorer("flight-delay", 1).value();
  EXPECT_EQ(models_->scorer("flight-delay", 1).value(), scorer);
  const tables::Frame rows{{{"hour", tables::Type::real, std::vector<double>{0, 2}, {}},
                            {"carrier", tables::Type::text, std::vector<std::string>{"UA", "AA"}, {}}},
                           2};
  const auto scores = scorer->score(rows).value();
  EXPECT_NEAR(scores[0], 0.5, 1e-6);
  EXPECT_NEAR(scores[1], 1 / (1 + std::exp(-2.0)), 1e-6);
}

TEST_F(ModelsTest, ABaselineIsKeptOnce) {
  ASSERT_TRUE(add_model("flight-delay"));
  ASSERT_TRUE(models_->add_version(kMaker, flights_version()));
  EXPECT_FALSE(models_->baseline("flight-delay", 1).value());
  statistics::Baseline baseline;
  baseline.features.push_back(statistics::number_baseline("hour", std::vector<double>{0.1, 0.2, 981.2114285714285}));
  ASSERT_TRUE(models_->set_baseline(kMaker, "flight-delay", 1, baseline));
  ASSERT_TRUE(models_->set_baseline(kMaker, "flight-delay", 1, baseline));
  EXPECT_EQ(json::encode(*models_->baseline("flight-delay", 1).value()), json::encode(baseline));
  baseline.features[0].rows = 4;
  EXPECT_EQ(models_->set_baseline(kMaker, "flight-delay", 1, baseline).error().code, Code::kFailedPrecondition);
  EXPECT_TRUE(models_->detail("flight-delay", 1)->has_baseline);
}

}  // namespace
}  // namespace tidemill::models

// The test binary is its own shim and its own probe, as the server is.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  if (argc > 1 && std::string_view(argv[1]) == tidemill::runtimes::kProbeVerb)
    return tidemill::runtimes::probe_main(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
