#include "base/json.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace tidemill::samples {

enum class Colour { red, dark_blue };
BOOST_DESCRIBE_ENUM(Colour, red, dark_blue)

struct Tag {
  std::string key;
  std::optional<std::string> value;
};
BOOST_DESCRIBE_STRUCT(Tag, (), (key, value))

struct Thing {
  std::string name;
  std::int64_t count = 0;
  std::uint32_t small = 0;
  double weight = 0;
  bool on = false;
  Colour colour = Colour::red;
  std::vector<Tag> tags;
  std::map<std::string, double> extra;
  std::optional<json::Object> free;
};
BOOST_DESCRIBE_STRUCT(Thing, (), (name, count, small, weight, on, colour, tags, extra, free))

struct Lenient {
  using json_defaults = void;
  std::int64_t limit = 7;
  std::string order = "up";
};
BOOST_DESCRIBE_STRUCT(Lenient, (), (limit, order))

}  // namespace tidemill::samples

namespace tidemill::json {
namespace {

using samples::Colour;
using samples::Lenient;
using samples::Tag;
using samples::Thing;

constexpr const char* kThing =
    R"({"name":"汉","count":-9223372036854775808,"small":4294967295,"weight":1e-3,"on":true,"colour":"dark_blue",)"
    R"("tags":[{"key":"a"},{"key":"b","value":null},{"key":"c","value":""}],"extra":{"x":1},"free":{"y":[1]}})";

TEST(Json, ReadsAndWritesStructs) {
  const auto thing = decode<Thing>(kThing).value();
  EXPECT_EQ(thing.count, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(thing.colour, Colour::dark_blue);
  EXPECT_FALSE(thing.tags[1].value);
  EXPECT_EQ(thing.tags[2].value, "");
  const auto again = decode<Thing>(encode(thing)).value();
  EXPECT_EQ(canonical(to_json(again)), canonical(to_json(thing)));
}

struct Refusal {
  std::string text;
  std::string reason;
  std::string field;
};

class JsonRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(JsonRefuses, Text) {
  const auto refused = decode<std::vector<Thing>>(GetParam().text);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_EQ(refused.error().reason, GetParam().reason);
  EXPECT_NE(refused.error().message.find(GetParam().field), std::string::npos) << refused.error().message;
}

std::string with(const std::string& from, const std::string& to) {
  std::string text = std::string("[") + kThing + "]";
  return text.replace(text.find(from), from.size(), to);
}

INSTANTIATE_TEST_SUITE_P(
    All, JsonRefuses,
    testing::Values(Refusal{"", "json.malformed", ""}, Refusal{"[", "json.malformed", ""},
                    Refusal{"[] []", "json.malformed", ""}, Refusal{"\xEF\xBB\xBF[]", "json.malformed", ""},
                    Refusal{"[\"\xFF\"]", "json.malformed", ""}, Refusal{"[NaN]", "json.malformed", ""},
                    Refusal{"{}", "json.wrong_type", "The body"},
                    Refusal{with("\"count\":-9223372036854775808", "\"count\":9223372036854775808"), "json.wrong_type",
                            "[0].count"},
                    Refusal{with("\"count\":-9223372036854775808", "\"count\":1.0"), "json.wrong_type", "[0].count"},
                    Refusal{with("4294967295", "4294967296"), "json.wrong_type", "[0].small"},
                    Refusal{with("4294967295", "-1"), "json.wrong_type", "[0].small"},
                    Refusal{with("1e-3", "1e999"), "json.wrong_type", "[0].weight"},
                    Refusal{with("\"on\":true", "\"on\":1"), "json.wrong_type", "[0].on"},
                    Refusal{with("dark_blue", "green"), "json.wrong_type", "one of red, dark_blue"},
                    Refusal{with("{\"key\":\"a\"}", "{}"), "json.missing_field", "[0].tags[0].key"},
                    Refusal{with("{\"key\":\"a\"}", "{\"key\":\"a\",\"kee\":1}"), "json.unknown_field",
                            "[0].tags[0].kee"},
                    Refusal{with("\"x\":1", "\"x\":1,\"x\":2"), "json.duplicate_key", ""},
                    Refusal{with("\"x\":1", "\"x\":1,\"\\u0078\":2"), "json.duplicate_key", ""}));

TEST(Json, NamesTheKnownFields) {
  EXPECT_NE(decode<Tag>(R"({"key":"a","x":1})").error().remedy.find("key, value"), std::string::npos);
}

TEST(Json, KeepsDefaultsWhereAllowed) {
  EXPECT_EQ(decode<Lenient>("{}").value().limit, 7);
  EXPECT_EQ(decode<Lenient>(R"({"limit":1})").value().limit, 1);
  EXPECT_FALSE(decode<Lenient>(R"({"limti":1})"));
}

TEST(Json, HasLimits) {
  std::string deep(64, '[');
  deep += std::string(64, ']');
  EXPECT_TRUE(parse(deep));
  EXPECT_FALSE(parse("[" + deep + "]"));
  EXPECT_TRUE(parse("[12]", Limits{.bytes_max = 4}));
  EXPECT_EQ(parse("[123]", Limits{.bytes_max = 4}).error().code, Code::kTooLarge);
  const std::string flood(100'000, '[');
  EXPECT_FALSE(parse(flood));
}

TEST(Json, CanonicalTextIsTheSameForEqualValues) {
  EXPECT_EQ(canonical(parse(R"({"b":1,"a":[1.5,"é",null,true]})").value()), R"({"a":[1.5,"é",null,true],"b":1})");
  EXPECT_EQ(canonical(parse("1e2").value()), canonical(parse("100.0").value()));
}

TEST(Json, WritesNoNan) {
  EXPECT_EQ(encode(std::vector<double>{std::nan(""), std::numeric_limits<double>::infinity(), 0.1}), "[null,null,0.1]");
  EXPECT_EQ(encode(std::vector<double>{1, -0.0, 1e300}), "[1.0,-0.0,1e+300]");
}

TEST(Json, EveryDoubleComesBackBitForBit) {
  std::mt19937_64 random(7);
  std::vector<double> sent{981.2114285714285,
                           -0.0,
                           std::numeric_limits<double>::denorm_min(),
                           std::numeric_limits<double>::max(),
                           1e22,
                           1.0};
  while (sent.size() < 20'000) {
    const double any = std::bit_cast<double>(random());
    if (std::isfinite(any)) sent.push_back(any);
  }
  const auto back = decode<std::vector<double>>(encode(sent)).value();
  ASSERT_EQ(back.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    ASSERT_EQ(std::bit_cast<std::uint64_t>(back[i]), std::bit_cast<std::uint64_t>(sent[i])) << i;
  }
  const Value nested = parse(R"({"b":[0.1,{"z":981.2114285714285,"a":18446744073709551616}],"a":0.3})").value();
  EXPECT_EQ(nested.at("b").at(1).at("z").get_double(), 981.2114285714285);
  EXPECT_EQ(nested.at("b").at(1).at("a").get_double(), 18446744073709551616.0);
  EXPECT_EQ(nested.at("a").get_double(), 0.3);
}

TEST(Json, MakesSchemas) {
  Schemas schemas;
  const Value reference = schema_of<Thing>(schemas);
  EXPECT_EQ(reference.at("$ref").as_string(), "#/components/schemas/samples.Thing");
  const Value& thing = schemas.at("samples.Thing");
  EXPECT_EQ(thing.at("properties").at("colour").at("enum").as_array().size(), 2u);
  EXPECT_EQ(thing.at("required").as_array().size(), 8u);  // all but the optional one
  EXPECT_TRUE(schemas.contains("samples.Tag"));
}

}  // namespace
}  // namespace tidemill::json
