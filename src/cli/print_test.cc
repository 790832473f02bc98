#include "cli/print.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

namespace tidemill::cli {
namespace {

std::string shown(const std::string& text) { return object_text(json::parse(text)->as_object()); }

TEST(PrintTest, FieldsAreAlignedAndEmptyOnesSaySo) {
  EXPECT_EQ(shown(R"({"name": "wine", "made_ms": 1795610402070, "timeout_ms": 250, "tags": {}, "note": "", "by": null,
                      "keys": ["id", "year"], "share": 0.10000000000000001, "auc": 0.9980123443874882})"),
            "name        wine\n"
            "made_ms     2026-11-25T12:40:02Z\n"
            "timeout_ms  250\n"
            "tags        -\n"
            "note        -\n"
            "by          -\n"
            "keys        id, year\n"
            "share       0.1\n"
            "auc         0.998012\n");
}

TEST(PrintTest, ObjectsInsideAreIndented) {
  EXPECT_EQ(shown(R"({"name": "x", "drift": {"psi": 0.25, "deep": {"a": 1}}})"),
            "name  x\n"
            "drift\n"
            "  psi  0.25\n"
            "  deep\n"
            "    a  1\n");
}

TEST(PrintTest, ListsOfObjectsAreTablesWithoutEmptyColumns) {
  EXPECT_EQ(shown(R"({"rules": [{"kind": "range", "low": 0, "values": [], "pattern": ""},
                                {"kind": "one_of", "low": null, "values": ["a", "b"], "pattern": ""}]})"),
            "rules\n"
            "  KIND    LOW  VALUES\n"
            "  range   0    -\n"
            "  one_of  -    a, b\n");
  EXPECT_EQ(shown(R"({"verdicts": [{"met": true, "rule": {"metric": "auc", "op": ">="}, "at_ms": 1795610402070}]})"),
            "verdicts\n"
            "  MET   RULE.METRIC  RULE.OP  AT\n"
            "  true  auc          >=       2026-11-25T12:40:02Z\n");
}

TEST(PrintTest, ObjectsOfLikeObjectsAreTablesByName) {
  EXPECT_EQ(shown(R"({"files": {"a.json": {"bytes": 1}, "model.onnx": {"bytes": 1307}}})"),
            "files\n"
            "  NAME        BYTES\n"
            "  a.json      1\n"
            "  model.onnx  1307\n");
}

TEST(PrintTest, WhatMakesNoTableIsBlocksAndWhereThereAreManyATableThatSaysWhatIsMissing) {
  EXPECT_EQ(shown(R"({"tests": [{"passed": true, "verdicts": [{"met": true}]}]})"),
            "tests\n"
            "  1.\n"
            "    passed  true\n"
            "    verdicts\n"
            "      MET\n"
            "      true\n");
  std::string many = R"({"columns": [)";
  for (int i = 0; i < 6; ++i) many += (i > 0 ? ", " : "") + std::string(R"({"name": "c", "top": [{"value": 1}]})");
  EXPECT_TRUE(shown(many + "]}").ends_with("  c\n  --json also has: TOP\n")) << shown(many + "]}");
}

TEST(PrintTest, NoLineOfATableIsWiderThanAScreen) {
  std::string many = R"({"rows": [)";
  for (int i = 0; i < 9; ++i) {
    many += std::string(i > 0 ? ", " : "") + R"({"n": )" + std::to_string(i);
    for (int k = 0; k < 30; ++k) many += fmt::format(R"(, "field_{}": "some text")", k);
    many += "}";
  }
  const std::string text = shown(many + "]}");
  std::size_t begin = 0;
  for (std::size_t end = text.find('\n'); !text.substr(begin).starts_with("  --json"); end = text.find('\n', begin)) {
    EXPECT_LE(end - begin, 120u);
    begin = end + 1;
  }
  EXPECT_NE(text.find("FIELD 29"), std::string::npos) << "what was left out is named";
}

TEST(PrintTest, LongListsGoOnBelowTheirBeginning) {
  std::string text = R"({"data": [)";
  for (int i = 0; i < 100; ++i) text += (i > 0 ? ", " : "") + std::to_string(1000 + i);
  const std::string out = shown(text + "]}");
  EXPECT_TRUE(out.starts_with("data  1000, 1001,"));
  EXPECT_NE(out.find(",\n      1"), std::string::npos) << out;
}

TEST(PrintTest, TextsOfSeveralLinesKeepThem) {
  EXPECT_EQ(shown(R"({"n": 1, "definition": "name: x\nsteps:\n  - a\n"})"),
            "n  1\ndefinition\n  name: x\n  steps:\n    - a\n");
}

TEST(PrintTest, NamesCannotSteerTheTerminal) {
  EXPECT_EQ(shown("{\"name\": \"a\\u001b[2Jb\", \"k\\u001b\": 1}").find('\x1b'), std::string::npos);
  const auto rows = json::parse("[{\"n\": \"\\u001b\\n\"}]");
  EXPECT_EQ(table_text(&*rows, {{"N", "n"}}), "N\n  \n");
}

TEST(PrintTest, CellsAreCutBetweenCharacters) {
  const json::Value rows = json::Array{json::Object{{"n", std::string(58, 'a') + "潮汐"}}};
  EXPECT_EQ(table_text(&rows, {{"N", "n"}}), "N\n" + std::string(58, 'a') + "…\n");
  EXPECT_EQ(table_text(nullptr, {{"N", "n"}}), "");
}

}  // namespace
}  // namespace tidemill::cli
