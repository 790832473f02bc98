#include "base/yaml.h"

#include <gtest/gtest.h>

#include <string>

namespace tidemill {
namespace {

TEST(Yaml, ReadsTheCoreSchema) {
  const auto value = parse_yaml(R"(
name: flights   # a comment
norway: no
quoted: "12"
numbers: [1, -2, 1.5, 1e3, +7]
words: [true, False, null, ~, .inf, nan, 0x10, 1_000]
nested:
  - a: 1
    b: [x, {c: d}]
text: |
  two
  lines
empty:
)",
                                "p.yaml");
  ASSERT_TRUE(value) << value.error().message;
  EXPECT_EQ(json::canonical(*value),
            R"({"empty":null,"name":"flights","nested":[{"a":1,"b":["x",{"c":"d"}]}],"norway":"no",)"
            R"("numbers":[1,-2,1.5,1000,7],"quoted":"12","text":"two\nlines\n",)"
            R"("words":[true,false,null,null,".inf","nan","0x10","1_000"]})");
}

TEST(Yaml, ReadsJson) { EXPECT_EQ(json::canonical(parse_yaml(R"({"a": [1, "2"]})", "p").value()), R"({"a":[1,"2"]})"); }

TEST(Yaml, EmptyIsNull) { EXPECT_TRUE(parse_yaml("", "p").value().is_null()); }

struct BadYaml {
  const char* text;
  const char* line;
  const char* what;
};

class YamlRefuses : public testing::TestWithParam<BadYaml> {};

TEST_P(YamlRefuses, WithFileAndLine) {
  const auto refused = parse_yaml(GetParam().text, "p.yaml");
  ASSERT_FALSE(refused) << GetParam().text;
  EXPECT_TRUE(refused.error().message.starts_with(std::string("p.yaml:") + GetParam().line)) << refused.error().message;
  EXPECT_NE(refused.error().message.find(GetParam().what), std::string::npos) << refused.error().message;
}

INSTANTIATE_TEST_SUITE_P(All, YamlRefuses,
                         testing::Values(BadYaml{"a: &x 1\nb: *x", "1", "anchor"}, BadYaml{"b: *x", "1", ""},
                                         BadYaml{"a: !!python/object:os.system x", "1", "tag"},
                                         BadYaml{"a: 1\nb: 2\na: 3", "3", "twice"},
                                         BadYaml{"? [a, b]\n: 1", "1", "plain text"},
                                         BadYaml{"a: 1\n---\nb: 2", "1", "more than one"}, BadYaml{"a: [1, 2", "", ""},
                                         BadYaml{"a: b: c", "1", ""}, BadYaml{"\ta: 1", "1", ""}));

TEST(Yaml, PlainScalarsStayTextWhereAskedFor) {
  const auto value = parse_yaml_as_text("{a: 1e5, b: 012, c: no, d: true, e: null, f: '', g: 7}", "p");
  ASSERT_TRUE(value);
  EXPECT_EQ(json::serialize(*value), R"({"a":"1e5","b":"012","c":"no","d":"true","e":null,"f":"","g":"7"})");
  EXPECT_FALSE(parse_yaml_as_text("a: &x 1", "p"));
}

TEST(Yaml, HasLimits) {
  EXPECT_FALSE(parse_yaml(std::string(100'000, '['), "p"));
  EXPECT_FALSE(parse_yaml(std::string(65, '[') + std::string(65, ']'), "p"));
  EXPECT_TRUE(parse_yaml(std::string(64, '[') + std::string(64, ']'), "p"));
  EXPECT_EQ(parse_yaml(std::string((4u << 20) + 1, ' '), "p").error().code, Code::kTooLarge);
}

}  // namespace
}  // namespace tidemill
