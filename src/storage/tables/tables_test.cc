#include "storage/tables/tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <thread>

#include "base/files.h"

namespace tidemill::tables {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class TablesTest : public testing::Test {
 protected:
  void SetUp() override { tables_ = open({}); }

  std::unique_ptr<Tables> open(Options options) {
    options.folders = {folder_.path()};
    auto tables = Tables::create(std::move(options));
    EXPECT_TRUE(tables) << tables.error().text();
    return *std::move(tables);
  }
  std::filesystem::path file(const std::string& name) { return folder_.path() / name; }

  static Frame sample() {
    Frame frame{{}, 3};
    frame.columns.push_back({"flag", Type::boolean, std::vector<std::uint8_t>{1, 0, 1}, {1, 1, 0}});
    frame.columns.push_back({"count", Type::integer, std::vector<std::int64_t>{INT64_MIN, 0, INT64_MAX}, {}});
    frame.columns.push_back({"rate", Type::real, std::vector<double>{0.1, std::nan(""), 0}, {1, 1, 0}});
    frame.columns.push_back(
        {"na\"me", Type::text, std::vector<std::string>{"", "a string past twelve bytes", "潮汐"}, {}});
    frame.columns.push_back({"at", Type::time, std::vector<std::int64_t>{-1, 0, 1'700'000'000'123}, {}});
    return frame;
  }

  TemporaryFolder folder_ = *TemporaryFolder::create();
  std::unique_ptr<Tables> tables_;
};

TEST_F(TablesTest, LibraryIsLoadedByTheFirstUseOnly) {
  EXPECT_FALSE(tables_->loaded());
  ASSERT_TRUE(tables_->query({"t", "SELECT 1"}));
  EXPECT_TRUE(tables_->loaded());
}

TEST_F(TablesTest, FrameSurvivesParquetWithMissingAndNanApart) {
  ASSERT_TRUE(tables_->write_parquet(sample(), file("a.parquet")));
  const auto back = tables_->read_files({file("a.parquet")});
  ASSERT_TRUE(back) << back.error().text();
  ASSERT_EQ(back->columns.size(), 5u);
  EXPECT_THAT(back->find("flag")->valid, ElementsAre(1, 1, 0));
  EXPECT_THAT(back->find("count")->integers(), ElementsAre(INT64_MIN, 0, INT64_MAX));
  EXPECT_FALSE(back->find("rate")->is_missing(1));
  EXPECT_TRUE(std::isnan(back->find("rate")->reals()[1]));
  EXPECT_TRUE(back->find("rate")->is_missing(2));
  EXPECT_THAT(back->find("na\"me")->texts(), ElementsAre("", "a string past twelve bytes", "潮汐"));
  EXPECT_EQ(back->find("at")->type, Type::time);
  EXPECT_THAT(back->find("at")->integers(), ElementsAre(-1, 0, 1'700'000'000'123));
}

TEST_F(TablesTest, ManyRowsKeepTheirOrderAcrossChunksAndFiles) {
  constexpr std::int64_t kRows = 300'001;
  std::vector<std::int64_t> numbers(kRows);
  for (std::int64_t i = 0; i < kRows; ++i) numbers[static_cast<std::size_t>(i)] = i;
  const Frame frame{{{"n", Type::integer, numbers, {}}}, static_cast<std::size_t>(kRows)};
  ASSERT_TRUE(tables_->write_parquet(frame, file("1.parquet")));
  ASSERT_TRUE(tables_->write_parquet(frame, file("2.parquet")));
  const auto back = tables_->read_files({file("2.parquet"), file("1.parquet")});
  ASSERT_TRUE(back);
  ASSERT_EQ(back->rows, 2u * kRows);
  for (std::int64_t i = 0; i < 2 * kRows; ++i)
    ASSERT_EQ(back->columns[0].integers()[static_cast<std::size_t>(i)], i % kRows);
  EXPECT_EQ(tables_->parquet_rows({file("1.parquet"), file("2.parquet")}).value(), 2 * kRows);
  const auto slice = tables_->read_files({file("1.parquet")}, {"n"}, {kRows - 2, 10});
  ASSERT_TRUE(slice);
  EXPECT_THAT(slice->columns[0].integers(), ElementsAre(kRows - 2, kRows - 1));
}

TEST_F(TablesTest, ValuesAreBoundNeverPasted) {
  const Frame frame = sample();
  const auto answer = tables_->query(
      {"t", "SELECT count(*) AS n FROM f WHERE \"na\"\"me\" = $1 OR \"na\"\"me\" IN (SELECT unnest($2))"},
      {std::string("'; DROP TABLE f; --"), std::vector<std::string>{"潮汐"}}, {{"f", &frame}});
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_THAT(answer->columns[0].integers(), ElementsAre(1));
  const auto all =
      tables_->query({"t", "SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d"}, {true, std::int64_t{7}, 0.5, Missing{}});
  ASSERT_TRUE(all) << all.error().text();
  EXPECT_EQ(all->columns[1].integers()[0], 7);
  EXPECT_FALSE(tables_->query({"t", "SELECT $1"}, {}));
  EXPECT_FALSE(tables_->query({"t", "SELECT $1"}, {std::string("\xff\xfe")}));
}

TEST_F(TablesTest, TypesOfSqlBecomeTypesOfFrames) {
  const auto answer = tables_->query(
      {"t",
       "SELECT sum(42::BIGINT) AS s, 1.25 AS d, DATE '1969-12-31' AS day, TIMESTAMP '1969-12-31 23:59:59.9999' AS us, "
       "3::UTINYINT AS u, "
       "1.5::FLOAT AS f, TIMESTAMPTZ '2013-01-01 00:00:00+08' AS tz, 12345678901234567890.5::DECIMAL(30,1) AS big"});
  ASSERT_TRUE(answer) << answer.error().text();
  EXPECT_THAT(answer->find("s")->integers(), ElementsAre(42));
  EXPECT_THAT(answer->find("d")->reals(), ElementsAre(1.25));
  EXPECT_THAT(answer->find("day")->integers(), ElementsAre(-86'400'000));
  EXPECT_THAT(answer->find("us")->integers(), ElementsAre(-1));
  EXPECT_THAT(answer->find("u")->integers(), ElementsAre(3));
  EXPECT_THAT(answer->find("f")->reals(), ElementsAre(1.5));
  EXPECT_THAT(answer->find("tz")->integers(), ElementsAre(1'356'969'600'000));
  EXPECT_NEAR(answer->find("big")->reals()[0], 12345678901234567890.5, 4096);
  const auto list = tables_->query({"t", "SELECT [1, 2] AS l"});
  ASSERT_FALSE(list);
  EXPECT_THAT(list.error().message, HasSubstr("'l'"));
  EXPECT_FALSE(tables_->query({"t", "SELECT 10000000000000000000::HUGEINT AS h"}));
}

TEST_F(TablesTest, NestedParquetColumnsAreReadAsText) {
  ASSERT_TRUE(tables_->export_parquet({"t", "SELECT 1 AS a, [1, 2] AS l"}, {}, file("l.parquet")));
  const auto back = tables_->read_files({file("l.parquet")});
  ASSERT_TRUE(back) << back.error().text();
  EXPECT_THAT(back->find("l")->texts(), ElementsAre("[1, 2]"));
}

TEST_F(TablesTest, ExportTakesParametersAndTellsRows) {
  const auto rows = tables_->export_parquet({"t", "SELECT i FROM range($1) r(i) WHERE i >= $2"},
                                            {std::int64_t{10}, std::int64_t{4}}, file("it's.parquet"));
  ASSERT_TRUE(rows) << rows.error().text();
  EXPECT_EQ(*rows, 6);
  EXPECT_EQ(tables_->parquet_rows({file("it's.parquet")}).value(), 6);
}

TEST_F(TablesTest, NothingOutsideOfTheFoldersIsReadOrWritten) {
  const auto read = tables_->query({"t", "SELECT * FROM read_text('/etc/hostname')"});
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::kPermissionDenied);
  EXPECT_FALSE(tables_->query({"t", "COPY (SELECT 1) TO '/tmp/tidemill-must-not-exist.csv'"}));
  EXPECT_FALSE(std::filesystem::exists("/tmp/tidemill-must-not-exist.csv"));
  EXPECT_FALSE(
      tables_->query({"t", "SELECT * FROM read_text($1)"}, {(folder_.path() / "../../etc/hostname").string()}));
  EXPECT_FALSE(tables_->query({"t", "SET enable_external_access = true"}));
  EXPECT_FALSE(tables_->query({"t", "INSTALL httpfs"}));
  EXPECT_FALSE(tables_->query({"t", "ATTACH '/tmp/tidemill-must-not-exist.db'"}));
}

TEST_F(TablesTest, ErrorsNameTheThing) {
  const auto none = tables_->read_files({file("none.parquet")});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Code::kNotFound);
  ASSERT_TRUE(tables_->write_parquet(sample(), file("a.parquet")));
  const auto column = tables_->read_files({file("a.parquet")}, {"nope"});
  ASSERT_FALSE(column);
  EXPECT_THAT(column.error().message, HasSubstr("nope"));
  EXPECT_EQ(tables_->read_files({}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tables_->read_files({file("a.txt")}).error().code, Code::kInvalidArgument);
  ASSERT_TRUE(write_file_durably(file("bad.parquet"), "PAR1 this is no Parquet PAR1"));
  EXPECT_EQ(tables_->read_files({file("bad.parquet")}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(tables_->query({"q.name", "SELEC 1"}).error().code, Code::kInvalidArgument);
  EXPECT_THAT(tables_->query({"q.name", "SELEC 1"}).error().message, HasSubstr("q.name"));
}

TEST_F(TablesTest, BrokenFramesAreRefused) {
  Frame twice = sample();
  twice.columns[1].name = "flag";
  EXPECT_FALSE(tables_->write_parquet(twice, file("x.parquet")));
  Frame ragged = sample();
  ragged.columns[1].values = std::vector<std::int64_t>{1};
  EXPECT_FALSE(tables_->write_parquet(ragged, file("x.parquet")));
  Frame binary = sample();
  std::get<3>(binary.columns[3].values)[1] = "bad \xff bytes";
  const auto refused = tables_->write_parquet(binary, file("x.parquet"));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(std::filesystem::exists(file("x.parquet")));
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_NE(entry.path().extension(), ".tmp") << entry.path();
  }
}

TEST_F(TablesTest, RowsAndTimeAreLimited) {
  const auto small = open({.rows_max = 10});
  EXPECT_TRUE(small->query({"t", "SELECT i FROM range(10) r(i)"}));
  EXPECT_EQ(small->query({"t", "SELECT i FROM range(11) r(i)"}).error().code, Code::kTooLarge);
  const auto quick = open({.query_ms_max = 50});
  const auto slow =
      quick->query({"t", "SELECT count(*) FROM range(3000000) a(i), range(3000000) b(j) WHERE i * j % 7 = 3"});
  ASSERT_FALSE(slow);
  EXPECT_EQ(slow.error().code, Code::kExhausted);
  EXPECT_TRUE(quick->query({"t", "SELECT 1"}));
}

TEST_F(TablesTest, MemoryAndSpillAreLimited) {
  Options options;
  options.memory_mib = 24;
  options.temporary_mib = 1;
  const auto tight = open(options);
  EXPECT_TRUE(tight->query({"t", "SELECT sum(i) FROM range(10000000) r(i)"}));
  const auto large =
      tight->query({"t", "SELECT max(s) FROM (SELECT string_agg(i::VARCHAR, ',') AS s FROM range(30000000) r(i))"});
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, Code::kExhausted) << large.error().text();
  EXPECT_TRUE(tight->query({"t", "SELECT 1"}));
}

TEST_F(TablesTest, ManyThreadsShareFewPlaces) {
  const auto narrow = open({.queries_max = 2});
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20; ++i)
        good += narrow->query({"t", "SELECT sum(i) FROM range(1000) r(i)"})->columns[0].integers()[0] == 499500;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 160);
}

TEST(QuoteIdentifier, QuotesEverything) {
  EXPECT_EQ(quote_identifier("a b").value(), "\"a b\"");
  EXPECT_EQ(quote_identifier("a\"b").value(), "\"a\"\"b\"");
  EXPECT_FALSE(quote_identifier(""));
  EXPECT_FALSE(quote_identifier(std::string_view("a\0b", 3)));
  EXPECT_TRUE(quote_identifier(std::string(1024, 'x')));
  EXPECT_FALSE(quote_identifier(std::string(1025, 'x')));
}

}  // namespace
}  // namespace tidemill::tables
