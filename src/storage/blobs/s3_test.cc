#include "storage/blobs/s3.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/hash.h"
#include "storage/blobs/bytes_test.h"
#include "storage/blobs/s3_client.h"
#include "storage/blobs/s3_objects.h"
#include "storage/blobs/s3_server_test.h"
#include "storage/blobs/s3_signature.h"

namespace tidemill::blobs {
namespace {

using Trouble = TroubleProxy::Trouble;

const SystemClock kClock;

// The examples of "Authenticating Requests: Using the Authorization Header", Amazon S3 API Reference.
struct Example {
  ToSign request;
  std::string signature;
};

class Signature : public testing::TestWithParam<Example> {};

TEST_P(Signature, IsThatOfTheReference) {
  const S3Credentials credentials{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
  ToSign request = GetParam().request;
  request.headers["host"] = "examplebucket.s3.amazonaws.com";
  request.headers["x-amz-date"] = "20130524T000000Z";
  if (!request.headers.contains("x-amz-content-sha256")) request.headers["x-amz-content-sha256"] = sha256_hex("");
  const std::string value = authorization(request, credentials, "us-east-1");
  EXPECT_TRUE(value.starts_with(
      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders="));
  EXPECT_TRUE(value.ends_with(",Signature=" + GetParam().signature)) << value;
}

INSTANTIATE_TEST_SUITE_P(Aws, Signature,
                         testing::Values(Example{{"GET", "/test.txt", {}, {{"range", "bytes=0-9"}}},
                                                 "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
                                         Example{{"PUT",
                                                  "/" + percent_encode("test$file.text", true),
                                                  {},
                                                  {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                                                   {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
                                                   {"x-amz-content-sha256", sha256_hex("Welcome to Amazon S3.")}}},
                                                 "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
                                         Example{{"GET", "/", {{"lifecycle", ""}}, {}},
                                                 "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
                                         Example{{"GET", "/", {{"prefix", "J"}, {"max-keys", "2"}}, {}},
                                                 "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}));

TEST(Signature, EncodesAndSortsWhatIsAsked) {
  EXPECT_EQ(percent_encode("a/b c+~汉", true), "a/b%20c%2B~%E6%B1%89");
  EXPECT_EQ(percent_encode("a/b", false), "a%2Fb");
  EXPECT_EQ(query_string({{"b", "2"}, {"uploads", ""}, {"a", "x=y"}}), "a=x%3Dy&b=2&uploads=");
}

TEST(S3Xml, FindsTextsAndDecodesThem) {
  const std::string xml = "<R><Key>a&amp;b&lt;</Key><Key></Key><Keys>no</Keys><Key>cut";
  EXPECT_THAT(xml_texts(xml, "Key"), testing::ElementsAre("a&b<", ""));
  EXPECT_EQ(xml_text(xml, "None"), "");
}

TEST(S3Bucket, IsReadFromUrlSettingsAndEnvironment) {
  const auto environment = [](const char* name) -> std::optional<std::string> {
    const std::map<std::string, std::string> values{{"AWS_ACCESS_KEY_ID", "k"},
                                                    {"AWS_SECRET_ACCESS_KEY", "s"},
                                                    {"AWS_SESSION_TOKEN", "t"},
                                                    {"AWS_DEFAULT_REGION", "eu-west-3"}};
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
  const auto bucket = s3_bucket("s3://mill-data/team/one", {}, environment);
  ASSERT_TRUE(bucket) << bucket.error().text();
  EXPECT_EQ(bucket->name, "mill-data");
  EXPECT_EQ(bucket->prefix, "team/one/");
  EXPECT_EQ(bucket->settings.endpoint, "https://s3.eu-west-3.amazonaws.com");
  EXPECT_EQ(bucket->credentials.session_token, "t");
  EXPECT_EQ(s3_bucket("s3://mill-data", {}, environment)->prefix, "");
  EXPECT_EQ(s3_bucket("s3://mill-data/", {}, environment)->prefix, "");
  for (const char* url : {"", "mill", "http://mill", "s3://", "s3://ab", "s3://Mill", "s3://mill//x",
                          "s3://mill/a/../b", "s3://mill/a b", "s3://../mill"}) {
    EXPECT_EQ(s3_bucket(url, {}, environment).error().reason, "blobs.s3_bad_url") << url;
  }
  for (const char* endpoint : {"s3.example", "ftp://s3.example", "https://", "https://u:p@s3.example", "https://x/y"}) {
    EXPECT_EQ(s3_bucket("s3://mill", {.endpoint = endpoint}, environment).error().reason, "blobs.s3_bad_endpoint");
  }
  const auto none = [](const char*) { return std::optional<std::string>(); };
  EXPECT_EQ(s3_bucket("s3://mill", {}, none).error().reason, "blobs.s3_no_credentials");
}

TEST(S3Bucket, LimitsHoldAtAndPastThem) {
  const auto reason = [](const S3Settings& settings) -> std::string {
    const auto bucket = s3_bucket("s3://mill", settings, S3Server::environment());
    return bucket ? "" : bucket.error().reason;
  };
  EXPECT_EQ(reason({.part_bytes = 5 << 20}), "");
  EXPECT_EQ(reason({.part_bytes = (5 << 20) - 1}), "blobs.s3_bad_setting");
  EXPECT_EQ(reason({.transfers_max = 1}), "");
  EXPECT_EQ(reason({.transfers_max = 0}), "blobs.s3_bad_setting");
  EXPECT_EQ(reason({.transfers_max = 257}), "blobs.s3_bad_setting");
  EXPECT_EQ(reason({.attempts_max = 0}), "blobs.s3_bad_setting");
}

TEST(S3Bucket, CredentialsFileIsReadAndMustBePrivate) {
  const auto folder = *TemporaryFolder::create();
  const auto file = folder.path() / "credentials";
  ASSERT_TRUE(write_file_durably(file,
                                 "# ours\n[default]\naws_access_key_id = a\naws_secret_access_key=b\r\n\n"
                                 "[mill]\naws_access_key_id=c\naws_secret_access_key = d=e\naws_session_token= f"));
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  const auto none = [](const char*) { return std::optional<std::string>(); };
  S3Settings settings{.credentials_file = file};
  EXPECT_EQ(s3_bucket("s3://mill", settings, none)->credentials.access_key, "a");
  settings.profile = "mill";
  const auto mill = s3_bucket("s3://mill", settings, none);
  EXPECT_EQ(mill->credentials.secret_key, "d=e");
  EXPECT_EQ(mill->credentials.session_token, "f");
  settings.profile = "other";
  EXPECT_EQ(s3_bucket("s3://mill", settings, none).error().reason, "blobs.s3_no_credentials");
  std::filesystem::permissions(file, std::filesystem::perms::group_read, std::filesystem::perm_options::add);
  EXPECT_EQ(s3_bucket("s3://mill", settings, none).error().reason, "blobs.s3_credentials_open");
}

class S3 : public testing::Test {
 protected:
  std::unique_ptr<Objects> objects(S3Settings settings = {}) {
    settings.backoff_ms = 1;
    return s3_objects(std::make_unique<S3Client>(S3Server::bucket(prefix_, settings, proxy_.port()), kClock));
  }
  Result<std::uint64_t> put(Objects& objects, const std::string& bytes) {
    const auto batch = objects.begin().value();
    TM_CHECK(batch->add(Kind::chunk, sha256_hex(bytes), bytes));
    return batch->commit();
  }
  Result<std::optional<std::string>> get(Objects& objects, const std::string& bytes) {
    return objects.get(Kind::chunk, sha256_hex(bytes), bytes.size());
  }
  int count_seen(const std::string& start) {
    const auto lines = proxy_.seen();
    return static_cast<int>(std::ranges::count_if(lines, [&](const auto& line) { return line.starts_with(start); }));
  }

  const std::string prefix_ = generate_name();
  TroubleProxy proxy_{S3Server::get().port()};

 private:
  static std::string generate_name() {
    static int count = 0;
    return fmt::format("trouble-{}", ++count);
  }
};

TEST_F(S3, LargeObjectsGoInParts) {
  const auto store = objects({.part_bytes = 5 << 20});
  const std::string bytes = random_text((12 << 20) + 1, 1);
  EXPECT_EQ(put(*store, bytes).value(), bytes.size());
  EXPECT_EQ(count_seen("PUT "), 3);
  EXPECT_EQ(get(*store, bytes).value(), bytes);
  const std::string whole = random_text(5 << 20, 2);  // just fits one request
  EXPECT_EQ(put(*store, whole).value(), whole.size());
  EXPECT_EQ(count_seen("PUT "), 1);
}

TEST_F(S3, FailedUploadInPartsIsGivenUp) {
  const auto store = objects({.part_bytes = 5 << 20, .attempts_max = 2});
  const std::string bytes = random_text(11 << 20, 3);
  proxy_.plan("partNumber=2", {Trouble::refuse});
  EXPECT_EQ(put(*store, bytes).error().reason, "blobs.s3_refused");
  EXPECT_EQ(count_seen("DELETE "), 1);
  EXPECT_EQ(get(*store, bytes).value(), std::nullopt);
  EXPECT_EQ(put(*store, bytes).value(), bytes.size());
}

TEST_F(S3, RefusalWithinA200IsNoSuccess) {
  const auto store = objects({.part_bytes = 5 << 20, .attempts_max = 1});
  const std::string bytes = random_text(6 << 20, 4);
  proxy_.plan("uploadId=", {Trouble::none, Trouble::none, Trouble::internal_error});
  EXPECT_EQ(put(*store, bytes).error().reason, "blobs.s3_refused");
  EXPECT_EQ(get(*store, bytes).value(), std::nullopt);
}

TEST_F(S3, TriesAgainWhereThatHelps) {
  const auto store = objects({.attempts_max = 4});
  const std::string bytes = random_text(100'000, 5);
  proxy_.plan("PUT ", {Trouble::slow_down, Trouble::close_at_once, Trouble::slow_down});
  EXPECT_EQ(put(*store, bytes).value(), bytes.size());
  EXPECT_EQ(count_seen("PUT "), 4);
  proxy_.plan("GET ", {Trouble::cut_body, Trouble::slow_down, Trouble::cut_body});
  EXPECT_EQ(get(*store, bytes).value(), bytes);
}

TEST_F(S3, GivesUpAfterItsAttemptsAndTellsWhatWasSaid) {
  const auto store = objects({.attempts_max = 3});
  const std::string bytes = random_text(1000, 6);
  proxy_.plan("PUT ", {Trouble::slow_down, Trouble::slow_down, Trouble::slow_down, Trouble::slow_down});
  const auto refused = put(*store, bytes);
  EXPECT_EQ(refused.error().reason, "blobs.s3_refused");
  EXPECT_THAT(refused.error().message, testing::HasSubstr("503 SlowDown: As planned."));
  EXPECT_EQ(count_seen("PUT "), 3);
  proxy_.plan("GET ", {Trouble::refuse});
  EXPECT_EQ(get(*store, bytes).error().reason, "blobs.s3_refused");
  EXPECT_EQ(count_seen("GET "), 1) << "a refusal is not tried again";
}

TEST_F(S3, AFailureOfOneObjectFailsTheBatch) {
  const auto store = objects({.transfers_max = 2, .attempts_max = 1});
  proxy_.plan("PUT ", {Trouble::none, Trouble::none, Trouble::refuse});
  const auto batch = store->begin().value();
  Result<void> added;
  for (std::uint64_t i = 0; i < 20 && added; ++i) {
    const std::string bytes = random_text(1000, 100 + i);
    added = batch->add(Kind::chunk, sha256_hex(bytes), bytes);
  }
  EXPECT_FALSE(batch->commit());
}

TEST_F(S3, ListsMoreThanAPage) {
  const auto store = objects();
  const auto batch = store->begin().value();
  constexpr std::uint64_t kCount = 1100;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::string bytes = std::to_string(i);
    ASSERT_TRUE(batch->add(Kind::chunk, sha256_hex(bytes), bytes));
  }
  ASSERT_TRUE(batch->commit());
  std::set<std::string> names;
  ASSERT_TRUE(store->each(Kind::chunk, [&](const std::string& hex) -> Result<void> {
    names.insert(hex);
    return {};
  }));
  EXPECT_EQ(names.size(), kCount);
  EXPECT_TRUE(names.contains(sha256_hex("7")));
}

TEST_F(S3, WrongKeysBucketsAndAddressesAreToldAtTheStart) {
  S3Bucket bucket = S3Server::bucket("x", {.attempts_max = 1}, S3Server::get().port());
  bucket.credentials.secret_key = "wrong";
  const auto wrong = S3Store::create(bucket, kClock);
  EXPECT_EQ(wrong.error().reason, "blobs.s3_refused");
  EXPECT_THAT(wrong.error().message, testing::HasSubstr("SignatureDoesNotMatch"));
  EXPECT_THAT(wrong.error().text(), testing::Not(testing::HasSubstr("wrong")));
  bucket = S3Server::bucket("x", {.attempts_max = 1}, S3Server::get().port());
  bucket.name = "no-such-bucket";
  EXPECT_THAT(S3Store::create(bucket, kClock).error().message, testing::HasSubstr("NoSuchBucket"));
  std::uint16_t port = 0;
  listen_on_free_port(&port);  // closed again: nobody listens
  const auto nobody = S3Store::create(S3Server::bucket("x", {.attempts_max = 2, .backoff_ms = 1}, port), kClock);
  EXPECT_EQ(nobody.error().reason, "blobs.s3_unreachable");
}

}  // namespace
}  // namespace tidemill::blobs
