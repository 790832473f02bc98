#include "api/oip/request.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "api/oip/response.h"
#include "base/files.h"
#include "runtimes/test_models.h"

namespace tidemill::oip {
namespace {

// A model over hour (number), carrier (category) and weekend (number).
const models::Scorer& scorer() {
  static const TemporaryFolder folder = TemporaryFolder::create().value();
  static const auto runtime = runtimes::Runtime::create(TIDEMILL_ORT_LIBRARY).value();
  static const auto file =
      runtimes::test::write(folder.path() / "m.onnx", runtimes::test::logistic({0.5F, 1.0F, 0.1F}, -5));
  static const models::Scorer made{
      "flight-delay", 3, runtime->load(file).value(),
      models::Encoder::create({{"hour", models::ColumnKind::number, {}, models::Missing::nan},
                               {"carrier", models::ColumnKind::category, {"AA", "UA"}, models::Missing::code},
                               {"weekend", models::ColumnKind::number, {}, models::Missing::nan}})
          .value(),
      "late"};
  return made;
}

Result<InferRequest> parse(const std::string& body, std::optional<std::uint64_t> json_bytes = {}) {
  return parse_request(body, json_bytes, scorer());
}

std::string reason_of(const std::string& body, std::optional<std::uint64_t> json_bytes = {}) {
  const auto parsed = parse(body, json_bytes);
  return parsed ? "accepted" : parsed.error().reason;
}

// One input named hour with the rest given.
std::string hour(std::string_view rest) { return R"({"inputs":[{"name":"hour",)" + std::string(rest) + "}]}"; }

TEST(RequestTest, ReadsColumnsOfEveryType) {
  const auto parsed =
      parse(R"({"id": "q1", "parameters": {"prediction_ids": ["a", "b"], "at_ms": [5, 6], "timeout": 2500}, "inputs": [
      {"name": "hour", "shape": [2, 1], "datatype": "INT32", "data": [[9], [17]]},
      {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["UA", null]},
      {"name": "weekend", "shape": [2], "datatype": "BOOL", "data": [true, 0]},
      {"name": "temp", "shape": [2], "datatype": "FP64", "data": [-1.5, 7]}]})");
  ASSERT_TRUE(parsed) << parsed.error().text();
  EXPECT_EQ(parsed->id, "q1");
  EXPECT_EQ(parsed->timeout_us, 2500);
  EXPECT_TRUE(parsed->ids_given);
  EXPECT_EQ(parsed->ask.ids, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(parsed->ask.at_ms, (std::vector<std::int64_t>{5, 6}));
  const auto& rows = parsed->ask.rows;
  EXPECT_EQ(rows.rows, 2u);
  EXPECT_EQ(tables::frame_fault(rows), "");
  EXPECT_EQ(rows.find("hour")->integers(), (std::vector<std::int64_t>{9, 17}));
  EXPECT_EQ(rows.find("carrier")->texts()[0], "UA");
  EXPECT_TRUE(rows.find("carrier")->is_missing(1));
  EXPECT_EQ(rows.find("weekend")->booleans(), (std::vector<std::uint8_t>{1, 0}));
  EXPECT_EQ(rows.find("temp")->reals(), (std::vector<double>{-1.5, 7}));
  ASSERT_EQ(parsed->outputs.size(), 2u);
  EXPECT_EQ(parsed->outputs[0].name, "probability");
}

TEST(RequestTest, ReadsTheMatrixNestedOrFlat) {
  for (const std::string data : {"[[1,2,3],[4,5,null]]", "[1,2,3,4,5,null]"}) {
    const auto parsed = parse(R"({"inputs":[{"name":"input","shape":[2,3],"datatype":"FP32","data":)" + data + "}]}");
    ASSERT_TRUE(parsed) << parsed.error().text();
    ASSERT_TRUE(parsed->ask.tensor);
    const auto values = parsed->ask.tensor->as<float>();
    ASSERT_EQ(values.size(), 6u);
    EXPECT_EQ(values[4], 5.0F);
    EXPECT_TRUE(std::isnan(values[5]));
    ASSERT_EQ(parsed->outputs.size(), 1u);
    EXPECT_EQ(parsed->outputs[0].name, "probabilities");  // the model's own
  }
}

TEST(RequestTest, ReadsBinaryTensors) {
  const std::string json = R"({"parameters":{"binary_data_output":true},"inputs":[)"
                           R"({"name":"hour","shape":[2],"datatype":"FP32","parameters":{"binary_data_size":8}},)"
                           R"({"name":"carrier","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":11}},)"
                           R"({"name":"weekend","shape":[2],"datatype":"INT8","parameters":{"binary_data_size":2}}]})";
  const float hours[] = {1.5F, 2.5F};
  std::string body = json + std::string(reinterpret_cast<const char*>(hours), sizeof hours);
  body += std::string("\2\0\0\0UA\1\0\0\0Z", 11) + "\xFF\x01";
  const auto parsed = parse(body, json.size());
  ASSERT_TRUE(parsed) << parsed.error().text();
  EXPECT_EQ(parsed->ask.rows.find("hour")->reals(), (std::vector<double>{1.5, 2.5}));
  EXPECT_EQ(parsed->ask.rows.find("carrier")->texts(), (std::vector<std::string>{"UA", "Z"}));
  EXPECT_EQ(parsed->ask.rows.find("weekend")->integers(), (std::vector<std::int64_t>{-1, 1}));
  EXPECT_TRUE(parsed->outputs[0].binary);

  EXPECT_EQ(reason_of(body + "x", json.size()), "oip.binary_left_over");
  EXPECT_EQ(reason_of(body.substr(0, body.size() - 1), json.size()), "oip.wrong_binary_size");
  EXPECT_EQ(reason_of(body, body.size() + 1), "oip.wrong_header_length");
  EXPECT_EQ(reason_of(body), "oip.malformed");  // without the header all of it is JSON
}

TEST(RequestTest, RefusesBinaryThatDoesNotFit) {
  const auto with = [](std::string_view input, std::string_view bytes) {
    const std::string json = R"({"inputs":[)" + std::string(input) + "]}";
    return reason_of(json + std::string(bytes), json.size());
  };
  EXPECT_EQ(with(R"({"name":"hour","shape":[2],"datatype":"FP64","parameters":{"binary_data_size":8}})", "12345678"),
            "oip.wrong_binary_size");
  EXPECT_EQ(with(R"({"name":"hour","shape":[1],"datatype":"FP64","parameters":{"binary_data_size":-8}})", "12345678"),
            "oip.wrong_binary_size");
  EXPECT_EQ(
      with(R"({"name":"hour","shape":[4611686018427387904],"datatype":"FP64","parameters":{"binary_data_size":0}})",
           ""),
      "oip.wrong_binary_size");
  EXPECT_EQ(with(R"({"name":"carrier","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":4}})",
                 std::string_view("\xFF\xFF\xFF\xFF", 4)),
            "oip.short_text");
  EXPECT_EQ(with(R"({"name":"carrier","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}})",
                 std::string_view("\1\0\0\0\xFF", 5)),
            "oip.bad_value");
  EXPECT_EQ(with(R"({"name":"carrier","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":5}})",
                 std::string_view("\1\0\0\0a", 5)),
            "oip.wrong_count");
  EXPECT_EQ(with(R"({"name":"hour","shape":[1],"datatype":"UINT64","parameters":{"binary_data_size":8}})",
                 "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"),
            "oip.bad_value");
}

TEST(RequestTest, RefusesShapesThatLie) {
  EXPECT_EQ(reason_of(hour(R"("shape":[],"datatype":"FP64","data":[])")), "oip.wrong_shape");
  EXPECT_EQ(reason_of(hour(R"("shape":[-1],"datatype":"FP64","data":[])")), "oip.wrong_shape");
  EXPECT_EQ(reason_of(hour(R"("shape":[4294967296,4294967296],"datatype":"FP64","data":[1])")), "oip.wrong_shape");
  EXPECT_EQ(reason_of(hour(R"("shape":[3037000500,3037000500],"datatype":"FP64","data":[1])")), "oip.wrong_shape");
  EXPECT_EQ(reason_of(hour(R"("shape":[1,1,1,1,1,1,1,1,1],"datatype":"FP64","data":[1])")), "oip.wrong_shape");
  EXPECT_EQ(reason_of(hour(R"("shape":[9223372036854775807],"datatype":"FP64","data":[1])")), "oip.wrong_count");
  EXPECT_EQ(reason_of(hour(R"("shape":[9223372036854775808],"datatype":"FP64","data":[1])")), "oip.wrong_type");
  EXPECT_EQ(reason_of(hour(R"("shape":[1.5],"datatype":"FP64","data":[1])")), "oip.wrong_type");
  EXPECT_EQ(reason_of(hour(R"("shape":[2],"datatype":"FP64","data":[1])")), "oip.wrong_count");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[1,2])")), "oip.wrong_count");
  EXPECT_EQ(reason_of(hour(R"("shape":[1,2,1],"datatype":"FP64","data":[1,2])")), "oip.wrong_shape");
  EXPECT_EQ(
      reason_of(hour(
          R"("shape":[1],"datatype":"FP64","data":[1]},{"name":"weekend","shape":[2],"datatype":"FP64","data":[1,2])")),
      "oip.wrong_shape");
}

TEST(RequestTest, RefusesValuesThatDoNotFit) {
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"INT8","data":[128])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"INT8","data":[-128])")), "accepted");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"UINT8","data":[-1])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"INT64","data":[1.5])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":["1"])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[{}])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"BYTES","data":[1])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"BOOL","data":[2])")), "oip.bad_value");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP16","data":[1])")), "oip.unknown_datatype");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[NaN])")), "oip.malformed");
  EXPECT_EQ(reason_of(R"({"inputs":[{"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,1e39]}]})"),
            "oip.bad_value");
  EXPECT_EQ(reason_of(R"({"inputs":[{"name":"input","shape":[1,3],"datatype":"INT64","data":[1,2,3]}]})"),
            "oip.matrix_datatype");
}

TEST(RequestTest, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(reason_of(""), "oip.malformed");
  EXPECT_EQ(reason_of("[]"), "oip.wrong_type");
  EXPECT_EQ(reason_of("{}"), "oip.no_inputs");
  EXPECT_EQ(reason_of(R"({"inputs":[]})"), "oip.no_inputs");
  EXPECT_EQ(reason_of(R"({"inputs":{}})"), "oip.wrong_type");
  EXPECT_EQ(reason_of(R"({"inputs":[1]})"), "oip.wrong_type");
  EXPECT_EQ(reason_of(R"({"instances":[1]})"), "oip.unknown_field");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[1],"dta":1)")), "oip.unknown_field");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64")")), "oip.no_data");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[1],"parameters":{"binary_data_size":8})")),
            "oip.no_data");
  EXPECT_EQ(reason_of(hour(R"("datatype":"FP64","data":[1])")), "oip.incomplete_input");
  EXPECT_EQ(reason_of(R"({"parameters":{"prediction_id":["a"]},"inputs":[]})"), "oip.unknown_parameter");
  EXPECT_EQ(
      reason_of(
          R"({"inputs":[{"name":"hour","shape":[1],"datatype":"FP64","data":[1]}],"outputs":[{"name":"score"}]})"),
      "oip.unknown_output");
  EXPECT_EQ(reason_of(R"({"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]})"),
            "oip.unknown_input");
  EXPECT_EQ(
      reason_of(
          hour(R"("shape":[1],"datatype":"FP64","data":[1]},{"name":"hour","shape":[1],"datatype":"FP64","data":[1])")),
      "oip.input_twice");
  EXPECT_EQ(reason_of(hour(R"("shape":[1],"datatype":"FP64","data":[1]},)"
                           R"({"name":"input","shape":[1,3],"datatype":"FP32","data":[1,2,3])")),
            "oip.mixed_inputs");
  std::string deep =
      hour(R"("shape":[1],"datatype":"FP64","data":)" + std::string(2000, '[') + "1" + std::string(2000, ']'));
  EXPECT_NE(reason_of(deep), "accepted");
  deep = hour(R"("shape":[1],"datatype":"FP64","data":)" + std::string(20, '[') + "1" + std::string(20, ']'));
  EXPECT_EQ(reason_of(deep), "oip.too_deep");
}

TEST(RequestTest, EveryCutOfAGoodRequestIsRefused) {
  const std::string whole =
      R"({"id":"é","inputs":[{"name":"carrier","shape":[2],"datatype":"BYTES","data":["UA","\u00e9"]}]})";
  ASSERT_TRUE(parse(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) EXPECT_FALSE(parse(whole.substr(0, length))) << length;
}

predictions::Answer answer() {
  predictions::Answer answer;
  answer.model = "flight-delay";
  answer.ids = {"r:0", "r:1"};
  answer.versions = {3, 3};
  answer.probabilities = {0.1, 1.0 / 3};
  answer.labels = {0, 1};
  return answer;
}

TEST(ResponseTest, NamesVersionIdsAndValues) {
  InferRequest request;
  request.id = "say \"hi\"";
  request.outputs = {{"probability", false}, {"label", false}};
  const auto response = response_of("flights", request, answer());
  const auto body = json::parse(response.body).value().as_object();
  EXPECT_EQ(body.at("model_name"), "flights");
  EXPECT_EQ(body.at("model_version"), "3");
  EXPECT_EQ(body.at("id"), "say \"hi\"");
  EXPECT_EQ(body.at("parameters"), (json::Object{{"prediction_ids", json::Array{"r:0", "r:1"}}}));
  const auto& output = body.at("outputs").as_array().at(0).as_object();
  EXPECT_EQ(output.at("shape"), json::Array{2});
  EXPECT_EQ(output.at("data").as_array().at(1).as_double(), 1.0 / 3);  // every bit of it
}

TEST(ResponseTest, TellsWhoAnsweredWhichRow) {
  InferRequest request;
  request.ids_given = true;
  request.outputs = {{"label", false}};
  auto split = answer();
  split.versions = {3, 4};
  const auto body = json::parse(response_of("flights", request, split).body).value().as_object();
  EXPECT_EQ(body.at("parameters"), (json::Object{{"row_versions", json::Array{3, 4}}}));
}

TEST(ResponseTest, PutsBinaryOutputsBehindTheJson) {
  InferRequest request;
  request.ids_given = true;
  request.outputs = {{"label", false}, {"probability", true}};
  const auto response = response_of("flights", request, answer());
  ASSERT_EQ(response.headers.size(), 1u);
  EXPECT_EQ(response.headers[0].first, "Inference-Header-Content-Length");
  const auto length = static_cast<std::size_t>(std::stoul(response.headers[0].second));
  const auto body = json::parse(response.body.substr(0, length)).value().as_object();
  EXPECT_EQ(body.at("outputs").as_array().at(1).at("parameters"), (json::Object{{"binary_data_size", 16}}));
  double values[2];
  ASSERT_EQ(response.body.size() - length, sizeof values);
  std::memcpy(values, response.body.data() + length, sizeof values);
  EXPECT_EQ(values[1], 1.0 / 3);
}

TEST(ResponseTest, ErrorsAreOneSentenceAndAReason) {
  const auto response = error_response({Code::kExhausted, "predictions.queue_full", "Too many.", "Wait.", {}});
  EXPECT_EQ(response.status, 429);
  const auto body = json::parse(response.body).value().as_object();
  EXPECT_EQ(body.at("error"), "Too many. Wait.");
  EXPECT_EQ(body.at("reason"), "predictions.queue_full");
}

}  // namespace
}  // namespace tidemill::oip
