#include "api/http/guard.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace tidemill::http {
namespace {

class GuardTest : public testing::Test {
 protected:
  void SetUp() override {
    database_ = sql::Database::open(folder_.path() / "test.db").value();
    events_ = events::Events::create(*database_, clock_).value();
    access_ = access::Access::create(*database_, *events_, clock_).value();
  }
  void add_accounts() {
    const access::Actor ann = {"ann", {access::Role::admin}};
    ASSERT_TRUE(access_->add_person(access::local_actor(), {"ann", {access::Role::admin}, "a long password"}));
    ASSERT_TRUE(access_->add_person(ann, {"vic", {access::Role::viewer}, {}}));
    vic_ = access_->make_token(ann, "vic", {}).value().token;
  }
  static Request request(Method method = Method::get, std::vector<std::pair<std::string, std::string>> headers = {}) {
    Request made;
    made.method = method;
    made.path = "/api/x";
    if (headers.empty() || headers.front().first != "Host") made.headers.add("Host", "127.0.0.1:7070");
    for (auto& [name, value] : headers) made.headers.add(name, value);
    return made;
  }
  Result<access::Actor> check(const Request& request, Right right, GuardOptions options = {}) {
    const Guard guard(*access_, std::move(options));
    return guard.check(request, right);
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<access::Access> access_;
  std::string vic_;
};

TEST_F(GuardTest, WithoutAccountsLoopbackIsLocalAndElsewhereIsNobody) {
  EXPECT_EQ(check(request(), Right::admin).value().name, "local");
  EXPECT_EQ(check(request(), Right::read, {.loopback = false}).error().code, Code::kUnauthenticated);
  EXPECT_EQ(check(request(), Right::open, {.loopback = false}).value().name, "nobody");
}

TEST_F(GuardTest, WithAccountsSomebodySignsIn) {
  add_accounts();
  EXPECT_EQ(check(request(), Right::read).error().code, Code::kUnauthenticated);
  EXPECT_EQ(check(request(), Right::read, {.anonymous_read = true}).value().name, "visitor");
  EXPECT_EQ(check(request(), Right::write, {.anonymous_read = true}).error().code, Code::kUnauthenticated);
  EXPECT_EQ(check(request(), Right::read, {.loopback = false, .anonymous_read = true}).error().code,
            Code::kUnauthenticated);
  EXPECT_EQ(check(request(Method::get, {{"Authorization", "Bearer " + vic_}}), Right::read).value().name, "vic");
  EXPECT_EQ(check(request(Method::get, {{"authorization", "bearer " + vic_}}), Right::read).value().name, "vic");
  EXPECT_EQ(check(request(Method::get, {{"Authorization", "Bearer " + vic_}}), Right::write).error().reason,
            "access.no_right");
  for (const char* bad : {"Bearer", "Bearer ", "Bearer tm_0", "Basic", "Basic !!!!", "Basic YW5u", "Digest x", ""}) {
    EXPECT_EQ(check(request(Method::get, {{"Authorization", bad}}), Right::read).error().code, Code::kUnauthenticated)
        << bad;
  }
}

TEST_F(GuardTest, ATokenSeenLatelyNeedsNoWorker) {
  add_accounts();
  const Guard guard(*access_, {});
  const Request asked = request(Method::get, {{"Authorization", "Bearer " + vic_}});
  EXPECT_FALSE(guard.check_now(asked, Right::read));  // the database has to be asked
  EXPECT_TRUE(guard.check(asked, Right::read));
  EXPECT_EQ(guard.check_now(asked, Right::read).value().value().name, "vic");
  // ann:a long password — a hash, seen or not
  const Request basic = request(Method::get, {{"Authorization", "Basic YW5uOmEgbG9uZyBwYXNzd29yZA=="}});
  EXPECT_FALSE(guard.check_now(basic, Right::read));
  EXPECT_EQ(guard.check(basic, Right::admin).value().name, "ann");
}

TEST_F(GuardTest, OnlyOurOwnNamesAreAnswered) {
  for (const char* good : {"127.0.0.1", "127.0.0.1:7070", "localhost:1", "[::1]", "[::1]:7070"}) {
    EXPECT_TRUE(check(request(Method::get, {{"Host", good}}), Right::read)) << good;
  }
  for (const char* bad :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7070", "[::1", "", "[", "evil@127.0.0.1"}) {
    EXPECT_FALSE(check(request(Method::get, {{"Host", bad}}), Right::read)) << bad;
  }
  EXPECT_TRUE(check(request(Method::get, {{"Host", "mill.example:80"}}), Right::read, {.names = {"mill.example"}}));
  EXPECT_EQ(check(request(Method::get, {{"Host", "evil.example"}}), Right::open).error().reason, "http.foreign_host");
}

TEST_F(GuardTest, OtherSitesMayNotChangeAnything) {
  const std::pair<std::string, std::string> evil{"Origin", "http://evil.example"};
  EXPECT_EQ(check(request(Method::post, {evil}), Right::write).error().reason, "http.foreign_origin");
  EXPECT_EQ(check(request(Method::del, {evil}), Right::write).error().reason, "http.foreign_origin");
  EXPECT_EQ(check(request(Method::post, {{"Origin", "null"}}), Right::write).error().reason, "http.foreign_origin");
  EXPECT_EQ(check(request(Method::post, {{"Origin", "http://127.0.0.1:7071"}}), Right::write).error().reason,
            "http.foreign_origin");
  EXPECT_TRUE(check(request(Method::post, {{"Origin", "http://127.0.0.1:7070"}}), Right::write));
  EXPECT_TRUE(check(request(Method::get, {evil}), Right::read));
}

}  // namespace
}  // namespace tidemill::http
