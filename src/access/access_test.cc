#include "access/access.h"

#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"

namespace tidemill::access {
namespace {

const Actor kAdmin{"ann", {Role::admin}};
const Actor kModeller{"wang", {Role::modeller}};
const Actor kApprover{"li", {Role::approver}};

class AccessTest : public testing::Test {
 protected:
  void SetUp() override {
    database_ = sql::Database::open(folder_.path() / "test.db").value();
    events_ = events::Events::create(*database_, clock_).value();
    access_ = Access::create(*database_, *events_, clock_).value();
  }
  void add_people() {
    ASSERT_TRUE(access_->add_person(local_actor(), {"ann", {Role::admin}, "a long password"}));
    ASSERT_TRUE(access_->add_person(kAdmin, {"wang", {Role::modeller}, {}}));
    ASSERT_TRUE(access_->add_person(kAdmin, {"li", {Role::approver}, {}}));
  }
  Approval ask(const Actor& actor, json::Object evidence = {}) {
    return database_
        ->write([&](sql::Tx& tx) { return access_->ask(tx, actor, "models/m/1", "models.approve", evidence); })
        .value();
  }
  Result<Approval> decide(const Actor& actor, const ApprovalId& id, std::string_view reason = "looked at it") {
    return database_->write([&](sql::Tx& tx) { return access_->decide(tx, actor, id, true, reason); });
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<Access> access_;
};

TEST(Roles, GrantTheirRightsAndNoOther) {
  const std::vector<std::pair<Role, std::string>> table{{Role::viewer, "open read"},
                                                        {Role::modeller, "open read write predict"},
                                                        {Role::approver, "open read predict approve"},
                                                        {Role::service, "open read write predict"},
                                                        {Role::admin, "open read write predict approve admin"}};
  for (const auto& [role, expected] : table) {
    std::string got;
    for (const Right right : {Right::open, Right::read, Right::write, Right::predict, Right::approve, Right::admin}) {
      if (Actor{"x", {role}}.has(right)) got += (got.empty() ? "" : " ") + std::string(enum_name(right));
    }
    EXPECT_EQ(got, expected) << enum_name(role);
  }
  EXPECT_FALSE((Actor{"nobody", {}}.has(Right::read)));
  EXPECT_FALSE(system_actor().has(Right::approve));
}

TEST_F(AccessTest, TheFirstAccountIsAnAdmin) {
  EXPECT_FALSE(access_->has_accounts());
  EXPECT_EQ(access_->add_person(local_actor(), {"wang", {Role::modeller}, {}}).error().reason, "people.first_is_admin");
  EXPECT_FALSE(access_->has_accounts());
  add_people();
  EXPECT_TRUE(access_->has_accounts());
  EXPECT_EQ(access_->add_person(kAdmin, {"wang", {Role::viewer}, {}}).error().code, Code::kAlreadyExists);
}

TEST_F(AccessTest, RefusesBadAccounts) {
  add_people();
  EXPECT_FALSE(access_->add_person(kAdmin, {"a b", {Role::viewer}, {}}));
  EXPECT_FALSE(access_->add_person(kAdmin, {"bob", {}, {}}));
  EXPECT_FALSE(access_->add_person(kAdmin, {"system", {Role::viewer}, {}}));
  EXPECT_EQ(access_->add_person(kAdmin, {"bob", {Role::viewer}, "short"}).error().reason, "people.bad_password");
}

TEST_F(AccessTest, ATokenWorksUntilItIsRevokedOrExpired) {
  add_people();
  const auto token = access_->make_token(kModeller, "wang", {"laptop", {}}).value();
  EXPECT_EQ(access_->authenticate_bearer(token.token).value().name, "wang");
  EXPECT_EQ(access_->authenticate_basic("wang", token.token).value().name, "wang");
  EXPECT_FALSE(access_->authenticate_basic("ann", token.token));
  EXPECT_FALSE(access_->authenticate_bearer(token.token + "0"));
  ASSERT_TRUE(access_->revoke_token(kModeller, "wang", token.prefix));
  EXPECT_FALSE(access_->authenticate_bearer(token.token));

  const auto brief = access_->make_token(kModeller, "wang", {"brief", clock_.now_ms() + 1000}).value();
  EXPECT_TRUE(access_->authenticate_bearer(brief.token));
  clock_.advance_ms(1001);
  EXPECT_FALSE(access_->authenticate_bearer(brief.token));
}

TEST_F(AccessTest, TokensOfOthersAreForAdmins) {
  add_people();
  EXPECT_EQ(access_->make_token(kModeller, "li", {}).error().reason, "tokens.not_yours");
  EXPECT_EQ(access_->tokens(kModeller, "li").error().reason, "tokens.not_yours");
  const auto token = access_->make_token(kAdmin, "li", {}).value();
  EXPECT_EQ(access_->tokens(kAdmin, "li").value().size(), 1u);
  EXPECT_EQ(access_->revoke_token(kModeller, "li", token.prefix).error().reason, "tokens.not_yours");
  EXPECT_EQ(access_->revoke_token(kAdmin, "li", "tm_00000000").error().code, Code::kNotFound);
}

TEST_F(AccessTest, AClosedAccountIsOutAtOnce) {
  add_people();
  const auto token = access_->make_token(kAdmin, "wang", {}).value();
  ASSERT_TRUE(access_->authenticate_bearer(token.token));
  ASSERT_TRUE(access_->disable_person(kAdmin, "wang"));
  EXPECT_FALSE(access_->authenticate_bearer(token.token));
  EXPECT_EQ(access_->make_token(kAdmin, "wang", {}).error().reason, "people.closed");
  EXPECT_EQ(access_->disable_person(kAdmin, "ann").error().reason, "people.last_admin");
}

TEST_F(AccessTest, PasswordsAreCheckedAndGuessingIsSlowed) {
  add_people();
  EXPECT_EQ(access_->authenticate_basic("ann", "a long password").value().name, "ann");
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(access_->authenticate_basic("wang", "guess " + std::to_string(i)).error().code, Code::kUnauthenticated);
  }
  EXPECT_EQ(access_->authenticate_basic("wang", "guess 11").error().code, Code::kExhausted);
  EXPECT_TRUE(access_->authenticate_basic("ann", "a long password"));  // others are not kept out
  clock_.advance_ms(60'000);
  EXPECT_EQ(access_->authenticate_basic("wang", "guess 12").error().code, Code::kUnauthenticated);
}

TEST_F(AccessTest, OnlyAFewPasswordsAreHashedAtOnce) {
  add_people();
  std::atomic<int> busy = 0;
  std::vector<std::thread> guessers;
  for (int i = 0; i < 16; ++i) {
    guessers.emplace_back([&, i] {
      if (access_->authenticate_basic("nobody" + std::to_string(i), "a guess").error().reason == "access.busy") ++busy;
    });
  }
  for (auto& guesser : guessers) guesser.join();
  EXPECT_GT(busy.load(), 0);
  EXPECT_LE(busy.load(), 12);
  EXPECT_TRUE(access_->authenticate_basic("ann", "a long password"));
}

TEST_F(AccessTest, APasswordSeenLatelyIsForgottenWithItsAccount) {
  add_people();
  ASSERT_TRUE(access_->add_person(kAdmin, {"amy", {Role::admin}, "another password"}));
  ASSERT_TRUE(access_->authenticate_basic("amy", "another password"));
  ASSERT_TRUE(access_->disable_person(kAdmin, "amy"));
  EXPECT_FALSE(access_->authenticate_basic("amy", "another password"));
}

TEST_F(AccessTest, NoSecretIsWrittenDown) {
  add_people();
  const auto token = access_->make_token(kAdmin, "ann", {}).value();
  const std::string lent = access_->lend_token("step");
  database_.reset();  // everything is in the file now
  std::string bytes;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    std::ifstream file(entry.path(), std::ios::binary);
    bytes.append(std::istreambuf_iterator<char>(file), {});
  }
  for (const auto& secret : {token.token.substr(11), lent.substr(11), std::string("a long password")}) {
    EXPECT_EQ(bytes.find(secret), std::string::npos);
  }
}

TEST_F(AccessTest, ALentTokenIsAServiceUntilDropped) {
  const std::string token = access_->lend_token("pipelines/p");
  const Actor actor = access_->authenticate_bearer(token).value();
  EXPECT_TRUE(actor.has(Right::write));
  EXPECT_FALSE(actor.has(Right::approve));
  access_->drop_token(token);
  EXPECT_FALSE(access_->authenticate_bearer(token));
}

TEST_F(AccessTest, ASecondPersonDecides) {
  add_people();
  const auto asked = ask(kModeller);
  EXPECT_EQ(ask(kModeller).id, asked.id);  // one open question a subject
  EXPECT_EQ(decide(kModeller, asked.id).error().reason, "access.may_not_approve");
  EXPECT_EQ(decide(system_actor(), asked.id).error().reason, "access.may_not_approve");
  EXPECT_EQ(decide(kApprover, asked.id, "").error().reason, "access.no_reason");
  const auto decided = decide(kApprover, asked.id).value();
  EXPECT_EQ(decided.state, ApprovalState::approved);
  EXPECT_EQ(decided.decided_by, "li");
  EXPECT_EQ(decide(kAdmin, asked.id).error().reason, "access.decided_already");
  EXPECT_NE(ask(kModeller).id, asked.id);  // a decided one is closed
}

TEST_F(AccessTest, NeitherAskerNorMakerDecides) {
  add_people();
  EXPECT_EQ(decide(kAdmin, ask(kAdmin).id).error().reason, "access.same_person");
  const auto made = database_->write([&](sql::Tx& tx) {
    return access_->ask(tx, kModeller, "models/m/2", "models.approve", json::Object{{"made_by", "li"}});
  });
  EXPECT_EQ(decide(kApprover, made.value().id).error().reason, "access.same_person");
  EXPECT_TRUE(decide(kAdmin, made.value().id));
}

}  // namespace
}  // namespace tidemill::access
