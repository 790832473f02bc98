#include "base/expand.h"

#include <gtest/gtest.h>

namespace tidemill {
namespace {

const json::Value kScope =
    json::parse(
        R"({"params": {"n": 3, "x": 0.5, "name": "a b", "list": [1, {"k": "v"}], "on": true, "odd": "${params.n}"}})")
        .value();

Result<json::Value> expanded(std::string_view text) {
  return expand(json::parse(text).value(), [](std::string_view path) { return value_at(kScope, path); });
}

TEST(Expand, ReplacesWholeStringsByTypedValues) {
  EXPECT_EQ(json::canonical(expanded(R"({"a": "${params.n}", "b": ["${params.list}"], "c": "${params.on}"})").value()),
            R"({"a":3,"b":[[1,{"k":"v"}]],"c":true})");
}

TEST(Expand, PutsScalarsIntoText) {
  EXPECT_EQ(expanded(R"("--n=${params.n} --x=${params.x} ${params.name}!")").value(), "--n=3 --x=0.5 a b!");
  EXPECT_EQ(expanded(R"("x${params.list}")").error().reason, "expand.not_scalar");
  EXPECT_EQ(expanded(R"("${params.list.1.k}")").value(), "v");
}

TEST(Expand, NeverExpandsTwiceNorTouchesKeys) {
  EXPECT_EQ(expanded(R"("${params.odd}")").value(), "${params.n}");
  EXPECT_EQ(expanded(R"({"${params.n}": 1})").value().as_object().begin()->key(), "${params.n}");
}

TEST(Expand, KnowsAnEscape) {
  EXPECT_EQ(expanded(R"("$${params.n} costs $5 and $$")").value(), "${params.n} costs $5 and $$");
}

TEST(Expand, RefusesWhatIsMalformedOrUnknown) {
  for (const auto* text : {R"("${params.n")", R"("${}")", R"("${a b}")", R"("${${params.n}}")"}) {
    EXPECT_EQ(expanded(text).error().reason, "expand.malformed") << text;
  }
  const auto unknown = expanded(R"("${params.missing}")");
  EXPECT_EQ(unknown.error().reason, "expand.unknown");
  EXPECT_NE(unknown.error().remedy.find("n, x, name"), std::string::npos);
  EXPECT_FALSE(expanded(R"("${params.list.2}")"));
  EXPECT_FALSE(expanded(R"("${params.n.deeper}")"));
}

TEST(Expand, ListsReferences) {
  EXPECT_EQ(references(json::parse(R"(["${a.b} and ${c}", {"k": "${d}"}, 1])").value()).value(),
            (std::vector<std::string>{"a.b", "c", "d"}));
}

}  // namespace
}  // namespace tidemill
