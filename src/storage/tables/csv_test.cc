#include "storage/tables/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/enums.h"
#include "base/files.h"
#include "storage/tables/csv_values.h"
#include "storage/tables/tables.h"
#include "storage/tables/utf8.h"

namespace tidemill::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CsvTest : public testing::Test {
 protected:
  std::filesystem::path write(std::string_view text) {
    EXPECT_TRUE(write_file_durably(folder_.path() / "a.csv", text));
    return folder_.path() / "a.csv";
  }
  std::string types(std::string_view text) {
    const auto shape = scan_csv(write(text));
    if (!shape) return shape.error().reason + ": " + shape.error().message;
    std::string words;
    for (const auto& column : shape->columns)
      words += (words.empty() ? "" : " ") + column.name + ":" + std::string(enum_name(column.type));
    return words + " " + std::to_string(shape->rows);
  }
  Frame read(std::string_view text, const CsvOptions& options = {}) {
    const auto file = write(text);
    const auto shape = scan_csv(file, options);
    Frame frame;
    EXPECT_TRUE(shape) << shape.error().text();
    if (shape) {
      EXPECT_TRUE(read_csv(file, shape->columns, options, 1 << 20, [&](const Frame& batch) -> Result<void> {
        frame = batch;
        return {};
      }));
    }
    return frame;
  }
  Error error(std::string_view text, const CsvOptions& options = {}) {
    const auto shape = scan_csv(write(text), options);
    EXPECT_FALSE(shape) << text.substr(0, 100);
    return shape ? Error{} : shape.error();
  }

  TemporaryFolder folder_ = *TemporaryFolder::create();
};

TEST_F(CsvTest, TypesComeFromAllValues) {
  EXPECT_EQ(types("a,b,c,d,e\n1,1.5,true,2013-01-31,x\n-2,3,FALSE,2013-01-31T05:06:07Z,1\n"),
            "a:integer b:real c:boolean d:time e:text 2");
  EXPECT_EQ(types("a\n1\n2\nx\n"), "a:text 3");
  EXPECT_EQ(types("zip,phone,big\n007,+8613812345678,12345678901234567890\n"), "zip:text phone:text big:text 1");
  EXPECT_EQ(types("a,b\n0,9223372036854775807\n-0,-9223372036854775808\n"), "a:integer b:integer 2");
  EXPECT_EQ(types("a,b\n1e3,nan\n.5,-inf\n"), "a:real b:real 2");
  EXPECT_EQ(types("a\n1.5\n12345678901234567890\n"), "a:text 2");
  EXPECT_EQ(types("a,b\n1,\n,NA\n"), "a:integer b:text 2");
  EXPECT_EQ(types("a\ntrue\n1\n"), "a:text 2");
  EXPECT_EQ(types("a\n2013-02-30\n"), "a:text 1");
  EXPECT_EQ(types("a\n1e999\n"), "a:text 1");
}

TEST_F(CsvTest, MissingEmptyAndNanAreThreeThings) {
  const Frame frame = read("n,r,t\n1,nan,x\n,NA,\"\"\nNA,,\n\"\",\"\",\"NA\"\n");
  EXPECT_THAT(frame.find("n")->valid, ElementsAre(1, 0, 0, 0));
  EXPECT_THAT(frame.find("r")->valid, ElementsAre(1, 0, 0, 0));
  EXPECT_TRUE(std::isnan(frame.find("r")->reals()[0]));
  EXPECT_THAT(frame.find("t")->valid, ElementsAre(1, 1, 0, 1));
  EXPECT_THAT(frame.find("t")->texts(), ElementsAre("x", "", "", "NA"));
  const Frame namibia = read("country\nNA\nDE\n", {.missing = {}});
  EXPECT_THAT(namibia.find("country")->texts(), ElementsAre("NA", "DE"));
}

TEST_F(CsvTest, QuotesHoldDelimitersLineEndsAndQuotes) {
  const Frame frame = read("a,b\r\n\"x,\r\ny\",\"he said \"\"no\"\"\"\r\n\"\"\"\",2\r\n");
  EXPECT_THAT(frame.find("a")->texts(), ElementsAre("x,\r\ny", "\""));
  EXPECT_THAT(frame.find("b")->texts(), ElementsAre("he said \"no\"", "2"));
}

TEST_F(CsvTest, DelimitersBomBlankLinesAndLastLineWithoutEnd) {
  EXPECT_EQ(types("\xEF\xBB\xBF"
                  "a;b\n1;2\n\n3;4"),
            "a:integer b:integer 2");
  EXPECT_EQ(types("a\tb,c\td\n1\t2\t3\n"), "a:integer b,c:integer d:integer 1");
  EXPECT_EQ(types("\"a,b,c\"|d\n1|2\n"), "a,b,c:integer d:integer 1");
  EXPECT_EQ(types("\n\r\na;b\n1;2\n"), "a:integer b:integer 1");
  const Frame one = read("a\n1\n\n3\n");
  EXPECT_THAT(one.find("a")->valid, ElementsAre(1, 0, 1));
  EXPECT_EQ(types("a, b \n 1 , 2\n"), "a:integer  b :integer 1");
}

TEST_F(CsvTest, FaultsAreToldByLine) {
  const auto expect = [&](std::string_view text, std::string_view reason, std::string_view words) {
    const Error e = error(text);
    EXPECT_EQ(e.code, Code::kInvalidArgument);
    EXPECT_EQ(e.reason, reason) << text;
    EXPECT_THAT(e.message, HasSubstr(std::string(words)));
    EXPECT_FALSE(e.remedy.empty());
  };
  expect("a,b\n1,2\n1,2,3\n", "csv.ragged", "Line 3");
  expect("a,b\n\"1\n2\",2\n1\n", "csv.ragged", "Line 4");
  expect("a,b\n1,\"2\n", "csv.open_quote", "Line 2");
  expect("a,b\n1,x\"y\n", "csv.bad_quote", "Line 2");
  expect("a,b\n\"1\"x,2\n", "csv.bad_quote", "Line 2");
  expect("a,b\n1\r2,3\n", "csv.bad_line_end", "Line 2");
  expect("a,b\n1,\xff\n", "csv.not_utf8", "Line 2");
  expect(std::string_view("a,b\n1,\0\n", 8), "csv.binary", "Line 2");
  expect("", "csv.empty", "empty");
  expect("\n\n", "csv.empty", "no header");
  expect("a,b,A\n", "csv.duplicate_name", "columns 1 and 3");
  expect("a,,c\n", "csv.no_name", "column 2");
  expect("PAR1xxxx", "csv.binary", "Parquet");
  expect(
      "\xFF\xFE"
      "a",
      "csv.not_utf8", "UTF-16");
}

TEST_F(CsvTest, LimitsHoldAtAndPastThem) {
  const CsvOptions small{.columns_max = 3, .cell_bytes_max = 10, .row_bytes_max = 4 << 20};
  EXPECT_TRUE(scan_csv(write("a,b,c\n1,2,0123456789\n"), small));
  EXPECT_EQ(error("a,b,c,d\n", small).reason, "csv.too_many_columns");
  EXPECT_EQ(error("a,b,c\n1,2,01234567890\n", small).reason, "csv.cell_too_large");
  std::string wide = "c0";
  for (int i = 1; i < 1'000'000; ++i) wide += ",c" + std::to_string(i);
  EXPECT_EQ(error(wide + "\n").reason, "csv.too_many_columns");
  EXPECT_EQ(error("a\n" + std::string((1 << 20) + 1, 'x') + "\n").reason, "csv.cell_too_large");
  EXPECT_TRUE(scan_csv(write("a\n" + std::string(1 << 20, 'x') + "\n")));
  EXPECT_EQ(error("a\n\"" + std::string(5 << 20, 'x'), small).reason, "csv.row_too_large");
}

TEST_F(CsvTest, WrongTypesNameColumnRowLineAndValue) {
  const auto file = write("a,b\n1,x\n\n\"2\",y\nfour,z\n");
  const auto result = read_csv(file, {{"a", Type::integer}}, {}, 10, [](const Frame&) { return Result<void>(); });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, "csv.wrong_type");
  EXPECT_THAT(result.error().message, HasSubstr("'a', row 3 (line 5): 'four'"));
  EXPECT_EQ(read_csv(file, {{"nope", Type::text}}, {}, 10, [](const Frame&) { return Result<void>(); }).error().reason,
            "csv.no_column");
}

// Any table written by the rules must come back cell for cell, wherever the reading buffer's end falls.
TEST_F(CsvTest, RandomTablesComeBack) {
  std::mt19937_64 random(5);
  const std::vector<std::string> pieces{"a", "\"", ",", "\n", "\r\n", "潮", " ", ";", "", "1.5", "NA"};
  for (int round = 0; round < 60; ++round) {
    const std::size_t columns = 1 + random() % 4;
    const std::size_t rows = 1 + random() % (round % 20 == 0 ? 40'000 : 200);
    std::vector<std::vector<std::string>> want(columns);
    std::string text;
    for (std::size_t c = 0; c < columns; ++c) text += (c > 0 ? "," : "") + ("name" + std::to_string(c));
    for (std::size_t r = 0; r < rows; ++r) {
      text += "\n";
      for (std::size_t c = 0; c < columns; ++c) {
        std::string cell = "x";
        for (std::uint64_t n = random() % 12; n > 0; --n) cell += pieces[random() % pieces.size()];
        want[c].push_back(cell);
        std::string doubled;
        for (const char ch : cell) doubled += ch == '"' ? "\"\"" : std::string(1, ch);
        text += (c > 0 ? ",\"" : "\"") + doubled + "\"";
      }
    }
    CsvOptions options;
    options.read_bytes = round % 2 == 0 ? 16 + random() % 100 : options.read_bytes;
    const Frame frame = read(text, options);
    ASSERT_EQ(frame.rows, rows);
    for (std::size_t c = 0; c < columns; ++c) ASSERT_EQ(frame.columns[c].texts(), want[c]);
  }
}

TEST_F(CsvTest, ReadFilesJoinsCsvByNameWithTypesOfAll) {
  const auto tables = *Tables::create({.folders = {folder_.path()}});
  ASSERT_TRUE(write_file_durably(folder_.path() / "1.csv", "n,m,t\n1,,a\n2,,b\n"));
  ASSERT_TRUE(write_file_durably(folder_.path() / "2.csv", "t,n,m\nc,2.5,7\n"));
  const auto frame = tables->read_files({folder_.path() / "1.csv", folder_.path() / "2.csv"});
  ASSERT_TRUE(frame) << frame.error().text();
  EXPECT_THAT(frame->find("n")->reals(), ElementsAre(1, 2, 2.5));
  EXPECT_THAT(frame->find("m")->integers(), ElementsAre(0, 0, 7));
  EXPECT_THAT(frame->find("m")->valid, ElementsAre(0, 0, 1));
  const auto slice = tables->read_files({folder_.path() / "1.csv", folder_.path() / "2.csv"}, {"t"}, {1, 2});
  ASSERT_TRUE(slice);
  EXPECT_THAT(slice->columns[0].texts(), ElementsAre("b", "c"));
  EXPECT_FALSE(tables->read_files({folder_.path() / "1.csv"}, {"nope"}));
  EXPECT_FALSE(tables->loaded()) << "CSV needs no DuckDB";
}

TEST(CsvValues, TimesAreReadToTheMillisecond) {
  EXPECT_EQ(parse_time_ms("1970-01-01"), 0);
  EXPECT_EQ(parse_time_ms("1969-12-31 23:59:59.999"), -1);
  EXPECT_EQ(parse_time_ms("2013-01-01T10:00:00Z"), 1'357'034'400'000);
  EXPECT_EQ(parse_time_ms("2013-01-01T18:00:00+08:00"), 1'357'034'400'000);
  EXPECT_EQ(parse_time_ms("2013-01-01 05:00:00-0500"), 1'357'034'400'000);
  EXPECT_EQ(parse_time_ms("2013-01-01 10:00:00.123456789 UTC"), 1'357'034'400'123);
  EXPECT_EQ(parse_time_ms("2000-02-29"), 951'782'400'000);
  for (const char* bad : {"2013-13-01", "2013-00-01", "1900-02-29", "2013-1-1", "2013-01-01T24:00", "2013-01-01T10:60",
                          "2013-01-01x", "2013-01-01T", "2013-01-01T10:00:00.", "2013-01-01T10:00:00+8",
                          "2013-01-01T10:00:00+08:00x", "0000-01-01", "20130101ab"}) {
    EXPECT_FALSE(parse_time_ms(bad)) << bad;
  }
}

TEST(Utf8, TellsTheFirstBadByte) {
  const auto npos = std::string_view::npos;
  for (const char* good : {"", "abc", "潮汐磨坊", "é", "😀", "\xF4\x8F\xBF\xBF", "a long text past eight bytes 潮"})
    EXPECT_EQ(first_bad_utf8(good), npos) << good;
  EXPECT_EQ(first_bad_utf8("12345678\xff"), 8u);
  for (const char* bad : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE6\xBD", "\xC3"}) {
    EXPECT_EQ(first_bad_utf8(bad), 0u) << bad;
  }
}

}  // namespace
}  // namespace tidemill::tables
