#include "flow/runs/filter.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace tidemill::runs {
namespace {

Comparison one(std::string_view text) {
  const auto parsed = parse_filter(text);
  EXPECT_TRUE(parsed) << (parsed ? "" : parsed.error().text());
  EXPECT_EQ(parsed->size(), 1U);
  return parsed->front();
}

void refuses(std::string_view text) {
  const auto parsed = parse_filter(text);
  EXPECT_FALSE(parsed) << text;
  EXPECT_EQ(parsed ? Code::kInternal : parsed.error().code, Code::kInvalidArgument) << text;
}

TEST(Filter, ReadsFieldsInEveryQuoting) {
  EXPECT_EQ(one("metrics.auc > 1").key, "auc");
  EXPECT_EQ(one("metrics.`a b/c` > 1").key, "a b/c");
  EXPECT_EQ(one("`metrics`.\"a.b\" > 1").key, "a.b");
  EXPECT_EQ(one("tags.mlflow.source.name = 'x'").key, "mlflow.source.name");
  EXPECT_EQ(one("params.准确率 = 'x'").key, "准确率");
  EXPECT_EQ(one("run_id = 'x'").entity, "");
  EXPECT_EQ(one("  status='FINISHED'  ").text(), "FINISHED");
}

TEST(Filter, ReadsValues) {
  EXPECT_EQ(one("metrics.a = -1.5e-3").number().value, -1.5e-3);
  EXPECT_TRUE(one("start_time > 1664067852747").number().whole);
  EXPECT_FALSE(one("start_time > 1.0").number().whole);
  EXPECT_EQ(one("metrics.a<1e999").number().value, std::numeric_limits<double>::infinity());
  EXPECT_EQ(one("metrics.a<1e-999").number().value, 0.0);
  EXPECT_EQ(one("params.a = \"it's\"").text(), "it's");
  EXPECT_EQ(one("params.a = ''").text(), "");
  EXPECT_EQ(one("params.a = 'it''s'").text(), "it''s");  // as it stands between the quotes, as MLflow reads it
  EXPECT_EQ(one("run_id in ('a', \"b\" ,'c')").list(), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(one("run_id NOT IN ('a',)").op, Operator::not_in);
  EXPECT_EQ(one("tags.x is not null").op, Operator::is_not_null);
  EXPECT_EQ(one("tags.x IS NULL").op, Operator::is_null);
  EXPECT_EQ(one("tags.x ilike '%a_'").op, Operator::ilike);
}

TEST(Filter, JoinsByAndOnly) {
  EXPECT_EQ(parse_filter("metrics.a > 1 and params.b = 'AND' AND tags.c != 'x'").value().size(), 3U);
  EXPECT_TRUE(parse_filter("").value().empty());
  EXPECT_TRUE(parse_filter(" \n ").value().empty());
  for (const char* text : {"metrics.a > 1 OR metrics.a < 0",
                           "(metrics.a > 1)",
                           "metrics.a > 1 AND",
                           "AND metrics.a > 1",
                           "metrics.a",
                           "metrics.a >",
                           "metrics.a > > 1",
                           "metrics.a == 1",
                           "params.a = 'open",
                           "params.`a = 'x'",
                           "run_id IN ()",
                           "run_id IN 'a'",
                           "run_id IN ('a'",
                           "'a' = params.b",
                           "metrics.a > 1 metrics.b > 2",
                           "metrics.a > 1;",
                           "metrics.a > 0x10",
                           "metrics.a > 1.2.3",
                           "metrics.a > -",
                           "tags.x IS",
                           "tags.x NOT LIKE 'a'",
                           "metrics. > 1",
                           ".a > 1",
                           "metrics.a LIKE 5"}) {
    refuses(text);
  }
}

TEST(Filter, HasLimits) {
  Limits limits;
  limits.filter_bytes_max = 20;
  limits.filter_conditions_max = 2;
  limits.pattern_bytes_max = 3;
  EXPECT_TRUE(parse_filter("a = 'x' AND b = 'y' ", limits));
  EXPECT_FALSE(parse_filter("a = 'x' AND b = 'y'  ", limits));
  EXPECT_FALSE(parse_filter("a=1 AND b=1 AND c=1", limits));
  EXPECT_TRUE(parse_filter("a LIKE 'abc'", limits));
  EXPECT_FALSE(parse_filter("a LIKE 'abcd'", limits));
}

TEST(Filter, ReadsOrders) {
  const Order order = parse_order("metrics.`a b` DESC").value();
  EXPECT_EQ(order.key, "a b");
  EXPECT_TRUE(order.descending);
  EXPECT_FALSE(parse_order("start_time").value().descending);
  EXPECT_FALSE(parse_order("attributes.start_time asc").value().descending);
  for (const char* text : {"", "metrics.a UP", "metrics.a DESC DESC", "metrics.a, metrics.b"})
    EXPECT_FALSE(parse_order(text)) << text;
}

TEST(Filter, LikeKnowsItsTwoSigns) {
  EXPECT_TRUE(like("abc", "a%", false));
  EXPECT_TRUE(like("abc", "%b%", false));
  EXPECT_TRUE(like("a汉c", "a_c", false));
  EXPECT_TRUE(like("", "%", false));
  EXPECT_FALSE(like("", "_", false));
  EXPECT_FALSE(like("ABC", "abc", false));
  EXPECT_TRUE(like("ABC", "a_c", true));
  EXPECT_TRUE(like("mississippi", "%iss%ip%", false));
  EXPECT_FALSE(like("mississippi", "%iss%ipx", false));
  EXPECT_EQ(glob_of("a%_[*?"), "a*?[[][*][?]");
}

// The plainest definition of LIKE, over ASCII.
bool like_by_definition(std::string_view text, std::string_view pattern) {
  if (pattern.empty()) return text.empty();
  if (pattern.front() == '%') {
    for (std::size_t i = 0; i <= text.size(); ++i) {
      if (like_by_definition(text.substr(i), pattern.substr(1))) return true;
    }
    return false;
  }
  return !text.empty() && (pattern.front() == '_' || pattern.front() == text.front()) &&
         like_by_definition(text.substr(1), pattern.substr(1));
}

RC_GTEST_PROP(FilterProperty, LikeIsWhatItsDefinitionSays, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::element('a', 'b'));
  const auto pattern = *rc::gen::resize(8, rc::gen::container<std::string>(rc::gen::element('a', 'b', '%', '_')));
  RC_ASSERT(like(text, pattern, false) == like_by_definition(text, pattern));
}

RC_GTEST_PROP(FilterProperty, AnyTextIsReadOrRefused, (const std::string& text)) {
  const auto parsed = parse_filter(text);
  RC_ASSERT((parsed || parsed.error().code == Code::kInvalidArgument));
}

RC_GTEST_PROP(FilterProperty, WhatIsWrittenIsRead, ()) {
  const auto key =
      *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::element('a', 'Z', '9', ' ', '.', '-', '/', '\'')));
  const auto value = *rc::gen::container<std::string>(rc::gen::element('a', ' ', '\'', '%', ')', ',', '`'));
  const auto sign = *rc::gen::element<std::string>("=", "!=", "LIKE", "ilike");
  const auto space = *rc::gen::element<std::string>(" ", "  ", "\n");
  const Comparison comparison =
      one("params" + std::string(".`") + key + "`" + space + sign + space + "\"" + value + "\"");
  RC_ASSERT(comparison.key == key);
  RC_ASSERT(comparison.text() == value);
}

RC_GTEST_PROP(FilterProperty, NumbersComeBackExactly, (double number)) {
  RC_PRE(std::isfinite(number));
  char text[64];
  std::snprintf(text, sizeof text, "metrics.a = %.17g", number);
  RC_ASSERT(one(text).number().value == number);
}

}  // namespace
}  // namespace tidemill::runs
