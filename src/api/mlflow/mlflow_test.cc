#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "api/mlflow/endpoint.h"
#include "api/mlflow/fields.h"
#include "api/mlflow/json_text.h"
#include "base/json.h"

namespace tidemill::mlflow {
namespace {

Fields fields(std::string_view text) { return Fields(json::parse(text).value().as_object()); }

http::Request post(std::string body, const std::string& content_type = "application/json") {
  http::Request request;
  request.method = Method::post;
  request.body = std::move(body);
  if (!content_type.empty()) request.headers.add("Content-Type", content_type);
  return request;
}

TEST(JsonText, WritesWhatAReaderReads) {
  JsonText json;
  json.begin_object().text("a", "quote \" back \\ line \n bell \x07 汉").integer("n", -5).key("list").begin_array();
  json.begin_object()
      .end_object()
      .boolean(true)
      .number(1)
      .end_array()
      .text_if("empty", "")
      .integer_if("none", std::nullopt)
      .end_object();
  const std::string text = json.take();
  const auto value = json::parse(text);
  ASSERT_TRUE(value) << text;
  EXPECT_EQ(value->at("a").as_string(), "quote \" back \\ line \n bell \x07 汉");
  EXPECT_EQ(value->at("list").as_array().size(), 3U);
  EXPECT_TRUE(value->at("list").as_array()[2].is_double());
  EXPECT_EQ(value->as_object().size(), 3U);
}

TEST(JsonText, SpellsWhatJsonLacksInWords) {
  const auto text = [](double value) { return JsonText().number(value).take(); };
  EXPECT_EQ(text(std::numeric_limits<double>::quiet_NaN()), "\"NaN\"");
  EXPECT_EQ(text(std::numeric_limits<double>::infinity()), "\"Infinity\"");
  EXPECT_EQ(text(-std::numeric_limits<double>::infinity()), "\"-Infinity\"");
  EXPECT_EQ(text(-0.0), "-0.0");
  EXPECT_EQ(text(3), "3.0");
}

RC_GTEST_PROP(JsonTextProperty, EveryNumberIsReadBackBitForBit, (std::int64_t bits)) {
  const auto value = std::bit_cast<double>(bits);
  RC_PRE(!std::isnan(value));
  const Fields read = fields("{\"v\":" + JsonText().number(value).take() + "}");
  RC_ASSERT(std::bit_cast<std::int64_t>(read.required_number("v").value()) == bits);
}

RC_GTEST_PROP(JsonTextProperty, EveryTextIsReadBack, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127));
  RC_ASSERT(json::parse(JsonText().text(text).take()).value().as_string() == text);
}

TEST(Fields, TakeIntegersAsNumbersAndTexts) {
  const Fields read = fields(
      R"({"a": 5, "b": "-7", "c": 5.0, "d": 5.5, "e": "x", "f": 9223372036854775808,
             "g": null, "h": "9223372036854775807"})");
  EXPECT_EQ(read.required_integer("a").value(), 5);
  EXPECT_EQ(read.required_integer("b").value(), -7);
  EXPECT_EQ(read.required_integer("c").value(), 5);
  EXPECT_EQ(read.required_integer("h").value(), std::numeric_limits<std::int64_t>::max());
  for (const char* bad : {"d", "e", "f"})
    EXPECT_EQ(read.maybe_integer(bad).error().code, Code::kInvalidArgument) << bad;
  EXPECT_FALSE(read.maybe_integer("g").value());
  EXPECT_EQ(read.required_integer("g").error().reason, "mlflow.missing_value");
}

TEST(Fields, TakeBothSpellingsOfNamesAndIgnoreWhatNobodyKnows) {
  const Fields read = fields(R"({"runId": "a", "unknown": [1, {"x": 2}], "tags": [{"key": "k", "value": "v"}]})");
  EXPECT_EQ(read.required("run_id").value(), "a");
  EXPECT_EQ(pairs(read, "tags").value().front().value, "v");
  EXPECT_FALSE(fields(R"({"tags": {}})").objects("tags"));
  EXPECT_FALSE(fields(R"({"tags": [1]})").objects("tags"));
  EXPECT_FALSE(fields(R"({"name": 5})").text("name"));
  EXPECT_FALSE(fields(R"({"name": ""})").required("name"));
}

TEST(Fields, TakeNumbersInWordsButNoOthers) {
  const Fields read =
      fields(R"({"a": "NaN", "b": "-Infinity", "c": "1e5", "d": "nan", "e": "inf", "f": true, "g": "1e999"})");
  EXPECT_TRUE(std::isnan(read.required_number("a").value()));
  EXPECT_EQ(read.required_number("b").value(), -std::numeric_limits<double>::infinity());
  EXPECT_EQ(read.required_number("c").value(), 1e5);
  for (const char* bad : {"d", "e", "f", "g"}) EXPECT_FALSE(read.required_number(bad)) << bad;
}

TEST(Fields, NeedABodyThatSaysItIsJson) {
  EXPECT_TRUE(Fields::of(post("{}")));
  EXPECT_TRUE(Fields::of(post("{}", "application/json; charset=utf-8")));
  EXPECT_FALSE(Fields::of(post("{}", "text/plain")));
  EXPECT_FALSE(Fields::of(post("{}", "")));
  EXPECT_FALSE(Fields::of(post("[]")));
  EXPECT_FALSE(Fields::of(post("{\"a\": NaN}")));
}

TEST(Fields, AQueryRepeatsNamesForLists) {
  http::Request request;
  request.query = http::Query::parse("run_ids=a&run_ids=b&one=c&flag=true&n=5").value();
  const Fields read = Fields::of(request).value();
  EXPECT_EQ(read.texts("run_ids").value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(read.texts("one").value(), std::vector<std::string>{"c"});
  EXPECT_TRUE(read.maybe_boolean("flag").value().value());
  EXPECT_EQ(read.required_integer("n").value(), 5);
}

RC_GTEST_PROP(PageTokenProperty, IsReadBack, ()) {
  const auto offset = *rc::gen::inRange<std::int64_t>(0, std::numeric_limits<std::int64_t>::max());
  RC_ASSERT(offset_of(page_token(offset)).value() == offset);
}

TEST(PageToken, IsTheOneOfMlflowAndNothingElseIs) {
  EXPECT_EQ(page_token(100), "eyJvZmZzZXQiOiAxMDB9");  // base64 of {"offset": 100}
  EXPECT_EQ(offset_of("").value(), 0);
  for (const char* bad : {"x", "====", "eyJvZmZzZXQiOiAtMX0=", "bm90aGluZw==", "\xff"})
    EXPECT_FALSE(offset_of(bad)) << bad;
}

TEST(OwnPath, KnowsWhatLiesHere) {
  EXPECT_EQ(own_path("mlflow-artifacts:/1/r/artifacts"), "1/r/artifacts");
  EXPECT_EQ(own_path("mlflow-artifacts://host:1/1/r"), "1/r");
  EXPECT_FALSE(own_path("s3://bucket/x"));
  EXPECT_FALSE(own_path("file:///etc"));
  EXPECT_FALSE(own_path(""));
}

TEST(ErrorResponse, HasTheStatusThatClientsBranchOn) {
  const auto status = [](Code code) { return error_response({code, "r", "m", "", {}}).status; };
  EXPECT_EQ(status(Code::kAlreadyExists), 400);
  EXPECT_EQ(status(Code::kInvalidArgument), 400);
  EXPECT_EQ(status(Code::kFailedPrecondition), 400);
  EXPECT_EQ(status(Code::kNotFound), 404);
  EXPECT_EQ(status(Code::kUnauthenticated), 401);
  EXPECT_EQ(status(Code::kInternal), 500);
  const auto body = json::parse(error_response({Code::kNotFound, "runs.unknown", "Gone.", "", {}}).body).value();
  EXPECT_EQ(body.at("error_code").as_string(), "RESOURCE_DOES_NOT_EXIST");
  EXPECT_EQ(body.at("message").as_string(), "Gone.");
}

}  // namespace
}  // namespace tidemill::mlflow
