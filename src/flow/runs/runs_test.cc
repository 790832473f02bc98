#include "flow/runs/runs.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <fstream>
#include <future>
#include <limits>
#include <thread>

#include "base/files.h"
#include "flow/runs/metric_value.h"

namespace tidemill::runs {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class RunsTest : public testing::Test {
 protected:
  void SetUp() override { open({}); }
  void open(Limits limits) {
    runs_.reset();
    events_.reset();
    database_.reset();
    database_ = sql::Database::open(folder_.path() / "t.db").value();
    events_ = events::Events::create(*database_, clock_).value();
    if (!blobs_) blobs_ = blobs::LocalStore::create(folder_.path() / "blobs").value();
    runs_ = Runs::create(*database_, *events_, *blobs_, clock_, limits).value();
  }
  template <class F>
  auto write(F function) {
    return database_->write([&](sql::Tx& tx) { return function(tx); });
  }
  template <class F>
  auto read(F function) {
    return database_->read([&](sql::Tx& tx) { return function(tx); });
  }
  RunId start(std::optional<std::int64_t> start_ms = 1'000, ExperimentId experiment = ExperimentId(0)) {
    return write([&](sql::Tx& tx) {
             return runs_->start(tx, {experiment, "run", "ann", start_ms, {}});
           })
        .value()
        .info.id;
  }
  Result<void> log(const RunId& id, const Batch& batch) {
    return write([&](sql::Tx& tx) { return runs_->log(tx, id, batch); });
  }
  Result<void> metric(const RunId& id, const std::string& key, double value, std::int64_t at_ms = 1,
                      std::int64_t step = 0) {
    return log(id, {{{{value, at_ms, step}, key, "", "", ""}}, {}, {}});
  }
  runs::Run get(const RunId& id) {
    return read([&](sql::Tx& tx) { return runs_->run(tx, id); }).value();
  }
  Result<Page<runs::Run>> search(const std::string& filter, std::vector<std::string> order = {},
                                 View view = View::active, std::int64_t limit = 100, std::int64_t offset = 0,
                                 std::vector<ExperimentId> experiments = {ExperimentId(0)}) {
    return read([&](sql::Tx& tx) { return runs_->search(tx, {experiments, filter, order, view, limit, offset}); });
  }
  std::vector<RunId> ids(const std::string& filter, std::vector<std::string> order = {}, View view = View::active) {
    std::vector<RunId> out;
    const auto page = search(filter, std::move(order), view);
    EXPECT_TRUE(page) << page.error().text();
    for (const runs::Run& run : page->items) out.push_back(run.info.id);
    return out;
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<blobs::Store> blobs_;
  std::unique_ptr<Runs> runs_;
  const access::Actor actor_ = access::local_actor();
};

TEST(MetricValue, SortsLikeTheNumber) {
  const std::vector<double> rising{-kInfinity, -1e308, -1, -5e-324, -0.0, 0.0, 5e-324, 1, 1e308, kInfinity, kNan};
  for (std::size_t i = 1; i < rising.size(); ++i) EXPECT_LT(to_sortable(rising[i - 1]), to_sortable(rising[i]));
  EXPECT_EQ(to_sortable(-kNan), kSortableNan);
  EXPECT_TRUE(std::signbit(from_sortable(to_sortable(-0.0))));
}

RC_GTEST_PROP(MetricValueProperty, GivesEveryBitBack, (std::int64_t bits)) {
  const auto value = std::bit_cast<double>(bits);
  const double back = from_sortable(to_sortable(value));
  RC_ASSERT((std::isnan(value) ? std::isnan(back) : std::bit_cast<std::int64_t>(back) == bits));
}

TEST_F(RunsTest, KeepsEveryBitOfAMetric) {
  const RunId id = start();
  const std::vector<double> values{kNan, kInfinity, -kInfinity, -0.0, 0.1, 5e-324, std::numeric_limits<double>::max()};
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_TRUE(metric(id, "m", values[i], 1, static_cast<std::int64_t>(i)));
  open({});  // and from the disk
  const auto points = read([&](sql::Tx& tx) { return runs_->history(tx, id, "m", 100, 0); }).value().items;
  ASSERT_EQ(points.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::int64_t>(points[i].value), std::bit_cast<std::int64_t>(values[i])) << i;
  }
}

TEST_F(RunsTest, LatestIsTheLargestStepThenTimeThenValueWhateverTheOrder) {
  const RunId id = start();
  ASSERT_TRUE(metric(id, "m", 1, 100, 5));
  ASSERT_TRUE(metric(id, "m", 9, 900, 4));
  EXPECT_EQ(get(id).metrics.front().value, 1);
  ASSERT_TRUE(metric(id, "m", 2, 99, 5));
  EXPECT_EQ(get(id).metrics.front().value, 1);
  ASSERT_TRUE(metric(id, "m", 3, 100, 5));
  EXPECT_EQ(get(id).metrics.front().value, 3);
  ASSERT_TRUE(metric(id, "m", -1, 1, -7));
  EXPECT_EQ(get(id).metrics.front().value, 3);
  EXPECT_EQ(get(id).metrics.front().points, 5);
  // Within one batch alike.
  ASSERT_TRUE(
      log(id, {{{{1, 1, 2}, "n", "", "", ""}, {{7, 1, 3}, "n", "", "", ""}, {{5, 1, 1}, "n", "", "", ""}}, {}, {}}));
  EXPECT_EQ(get(id).metrics.back().value, 7);
}

TEST_F(RunsTest, TheSamePointTwiceIsOnePoint) {
  const RunId id = start();
  ASSERT_TRUE(metric(id, "m", kNan));
  ASSERT_TRUE(metric(id, "m", kNan));
  ASSERT_TRUE(log(id, {{{{1, 1, 0}, "m", "", "", ""}, {{1, 1, 0}, "m", "", "", ""}}, {}, {}}));
  EXPECT_EQ(get(id).metrics.front().points, 2);
}

TEST_F(RunsTest, ParametersAreFixedAndABatchIsAllOrNothing) {
  const RunId id = start();
  ASSERT_TRUE(log(id, {{}, {{"a", "1"}}, {}}));
  EXPECT_TRUE(log(id, {{}, {{"a", "1"}}, {}}));
  const auto refused = log(id, {{{{1, 1, 0}, "m", "", "", ""}}, {{"b", "2"}, {"a", "other"}}, {{"t", "x"}}});
  EXPECT_EQ(refused.error().reason, "runs.param_changed");
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_FALSE(log(id, {{}, {{"c", "1"}, {"c", "1"}}, {}}));
  const runs::Run run = get(id);
  EXPECT_TRUE(run.metrics.empty());
  EXPECT_TRUE(run.tags.empty());
  ASSERT_EQ(run.params.size(), 1U);
  EXPECT_EQ(run.params.front().value, "1");
  // A key first seen in an undone batch gets a fresh number later: nothing of the undone one may be remembered.
  ASSERT_TRUE(log(id, {{}, {{"z", "3"}}, {}}));
  ASSERT_TRUE(log(id, {{}, {{"b", "4"}}, {}}));
  EXPECT_EQ(get(id).params.at(1).value, "4");
}

TEST_F(RunsTest, HasLimits) {
  open({.batch_metrics_max = 2,
        .batch_params_max = 1,
        .batch_tags_max = 1,
        .batch_items_max = 3,
        .key_chars_max = 3,
        .param_chars_max = 2,
        .tag_chars_max = 2});
  const RunId id = start();
  const Metric m{{1, 1, 0}, "m", "", "", ""};
  EXPECT_TRUE(log(id, {{m, m}, {{"a", "12"}}, {}}));
  EXPECT_FALSE(log(id, {{m, m, m}, {}, {}}));
  EXPECT_FALSE(log(id, {{}, {{"b", "1"}, {"c", "1"}}, {}}));
  EXPECT_FALSE(log(id, {{}, {}, {{"b", "1"}, {"c", "1"}}}));
  EXPECT_FALSE(log(id, {{m, m}, {{"b", "1"}}, {{"c", "1"}}}));
  EXPECT_FALSE(log(id, {{}, {{"abcd", "1"}}, {}}));
  EXPECT_TRUE(log(id, {{}, {{"汉字典", "汉字"}}, {}}));  // characters, not bytes
  EXPECT_FALSE(log(id, {{}, {{"b", "123"}}, {}}));
  EXPECT_FALSE(log(id, {{}, {}, {{"b", "123"}}}));
  EXPECT_FALSE(search("", {}, View::active, 0));
  EXPECT_FALSE(search("", {}, View::active, 50'001));
}

TEST_F(RunsTest, RefusesKeysThatAreNoNames) {
  const RunId id = start();
  for (const char* key : {"", "a//b", "/a", "a/", "..", "a/../b", "./a", "a\nb", "a\"b", "a%b"}) {
    EXPECT_FALSE(metric(id, key, 1)) << key;
  }
  for (const char* key : {"a b", "a/b:c-d_e.f", "准确率", "..a"}) EXPECT_TRUE(metric(id, key, 1)) << key;
  EXPECT_FALSE(metric(id, "m", 1, -1));
}

TEST_F(RunsTest, WhatIsDeletedCannotBeWrittenTo) {
  const auto experiment = write([&](sql::Tx& tx) {
                            return runs_->add_experiment(tx, actor_, {"e", "", {}});
                          })
                              .value()
                              .id;
  const RunId id = start(1, experiment);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->delete_run(tx, actor_, id); }));
  EXPECT_EQ(metric(id, "m", 1).error().reason, "runs.deleted");
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->restore_run(tx, actor_, id); }));
  EXPECT_TRUE(metric(id, "m", 1));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->delete_experiment(tx, actor_, experiment); }));
  EXPECT_EQ(metric(id, "m", 1).error().reason, "runs.deleted");
  EXPECT_EQ(get(id).info.lifecycle, Lifecycle::deleted);
  EXPECT_TRUE(search("", {}, View::active, 10, 0, {experiment})->items.empty());
  EXPECT_EQ(search("", {}, View::deleted, 10, 0, {experiment})->items.size(), 1U);
  EXPECT_EQ(search("", {}, View::all, 10, 0, {experiment})->items.size(), 1U);
  EXPECT_EQ(write([&](sql::Tx& tx) {
              return runs_->add_experiment(tx, actor_, {"e", "", {}});
            })
                .error()
                .code,
            Code::kAlreadyExists);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->restore_experiment(tx, actor_, experiment); }));
  EXPECT_TRUE(metric(id, "m", 1));
  EXPECT_FALSE(write([&](sql::Tx& tx) { return runs_->delete_experiment(tx, actor_, ExperimentId(0)); }));
}

TEST_F(RunsTest, TheEndOfARunIsAnEventWithADigestOfWhatItKept) {
  const RunId id = start();
  ASSERT_TRUE(metric(id, "m", 0.5));
  const RunChange end{Status::finished, 2'000, {}};
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->change(tx, actor_, id, end); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->change(tx, actor_, id, end); }));  // twice is once
  auto ended = events_->read({.kind_prefix = "runs.ended"}).value();
  ASSERT_EQ(ended.size(), 1U);
  EXPECT_EQ(ended.front().subject, "runs/" + id.str());
  EXPECT_EQ(ended.front().payload.at("points").as_int64(), 1);
  const std::string digest(ended.front().payload.at("digest").as_string());
  ASSERT_TRUE(metric(id, "m", 0.6));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->change(tx, actor_, id, {Status::running, {}, {}}); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->change(tx, actor_, id, end); }));
  ended = events_->read({.kind_prefix = "runs.ended"}).value();
  EXPECT_NE(digest, ended.back().payload.at("digest").as_string());
}

TEST_F(RunsTest, OrdersNumbersThenNanThenNothingInBothDirections) {
  const RunId low = start(1);
  const RunId high = start(2);
  const RunId nan = start(3);
  const RunId none_early = start(4);
  const RunId none_late = start(5);
  ASSERT_TRUE(metric(low, "m", -kInfinity));
  ASSERT_TRUE(metric(high, "m", 2));
  ASSERT_TRUE(metric(nan, "m", kNan));
  const std::vector<RunId> rising{low, high, nan, none_late, none_early};
  const std::vector<RunId> falling{high, low, nan, none_late, none_early};
  EXPECT_EQ(ids("", {"metrics.m"}), rising);
  EXPECT_EQ(ids("", {"metrics.m DESC"}), falling);
  EXPECT_EQ(ids("run_name = 'run'", {"metrics.m DESC"}), falling);
  // The same with a condition that few runs meet, so that it drives.
  for (const RunId& id : rising) ASSERT_TRUE(log(id, {{}, {{"p", "1"}}, {}}));
  EXPECT_EQ(ids("params.p = '1'", {"metrics.m ASC"}), rising);
  EXPECT_EQ(ids("params.p = '1'", {"metrics.m DESC"}), falling);
  EXPECT_EQ(ids("", {}), (std::vector<RunId>{none_late, none_early, nan, high, low}));
}

TEST_F(RunsTest, PagesCrossTheBordersOfTheOrder) {
  std::vector<RunId> expected;
  for (int i = 0; i < 3; ++i) expected.push_back(start(i));
  for (int i = 0; i < 2; ++i) expected.push_back(start(100 - i));
  for (int i = 0; i < 3; ++i) expected.push_back(start(50 - i));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(metric(expected[i], "m", i));
  for (int i = 3; i < 5; ++i) ASSERT_TRUE(metric(expected[i], "m", kNan));
  for (std::int64_t size = 1; size <= 9; ++size) {
    std::vector<RunId> found;
    std::optional<std::int64_t> offset = 0;
    while (offset) {
      const auto page = search("", {"metrics.m"}, View::active, size, *offset).value();
      ASSERT_LE(page.items.size(), static_cast<std::size_t>(size));
      for (const runs::Run& run : page.items) found.push_back(run.info.id);
      offset = page.next;
    }
    EXPECT_EQ(found, expected) << "pages of " << size;
  }
}

TEST_F(RunsTest, ComparesMetricsAsNumbers) {
  const RunId zero = start(1);
  const RunId nan = start(2);
  const RunId infinite = start(3);
  start(4);
  ASSERT_TRUE(metric(zero, "m", -0.0));
  ASSERT_TRUE(metric(nan, "m", kNan));
  ASSERT_TRUE(metric(infinite, "m", kInfinity));
  EXPECT_EQ(ids("metrics.m = 0"), std::vector<RunId>{zero});
  EXPECT_EQ(ids("metrics.m >= 0"), (std::vector<RunId>{infinite, zero}));
  EXPECT_EQ(ids("metrics.m > 0"), std::vector<RunId>{infinite});
  EXPECT_EQ(ids("metrics.m <= 0"), std::vector<RunId>{zero});
  EXPECT_EQ(ids("metrics.m < 0"), std::vector<RunId>{});
  EXPECT_EQ(ids("metrics.m != 0"), (std::vector<RunId>{infinite, nan}));
  EXPECT_EQ(ids("metrics.unknown > 0"), std::vector<RunId>{});
}

TEST_F(RunsTest, FindsByEveryKindOfField) {
  const RunId a = start(1);
  const RunId b = start(2);
  ASSERT_TRUE(log(a, {{}, {{"x", "Abc"}}, {{"team", "risk"}}}));
  ASSERT_TRUE(log(b, {{}, {{"x", "abd"}}, {}}));
  ASSERT_TRUE(write([&](sql::Tx& tx) {
    return runs_->add_inputs(tx, a, {{{"flights", "d1", "local", "s", {}, {}}, {{"mlflow.data.context", "train"}}}},
                             {});
  }));
  EXPECT_EQ(ids("params.x = 'Abc'"), std::vector<RunId>{a});
  EXPECT_EQ(ids("params.x != 'Abc'"), std::vector<RunId>{b});
  EXPECT_EQ(ids("params.x LIKE 'A%'"), std::vector<RunId>{a});
  EXPECT_EQ(ids("params.x ILIKE 'a%'").size(), 2U);
  EXPECT_EQ(ids("tags.team != 'x'"), std::vector<RunId>{a});  // runs without the tag are not asked
  EXPECT_EQ(ids("tags.team IS NULL"), std::vector<RunId>{b});
  EXPECT_EQ(ids("tags.team IS NOT NULL"), std::vector<RunId>{a});
  EXPECT_EQ(ids("datasets.name = 'flights' AND datasets.context = 'train'"), std::vector<RunId>{a});
  EXPECT_EQ(ids("datasets.digest IN ('d1')"), std::vector<RunId>{a});
  EXPECT_EQ(ids("datasets.context = 'test'"), std::vector<RunId>{});
  EXPECT_EQ(ids("attributes.run_id IN ('" + a.str() + "')"), std::vector<RunId>{a});
  EXPECT_EQ(ids("run_id NOT IN ('" + a.str() + "')"), std::vector<RunId>{b});
  EXPECT_EQ(ids("start_time > 1"), std::vector<RunId>{b});
  EXPECT_EQ(ids("status = 'RUNNING'").size(), 2U);
  EXPECT_EQ(ids("status = 'running'").size(), 0U);
  EXPECT_EQ(ids("artifact_uri LIKE '%" + a.str() + "/artifacts'"), std::vector<RunId>{a});
  for (const char* bad : {"metrics.m = 'x'", "params.x > 'a'", "params.x = 5", "attributes.nothing = 'x'",
                          "status IN ('RUNNING')", "tags.team IN ('x')", "start_time = 'x'", "metrics.m IS NULL",
                          "start_time LIKE '1'", "users.x = 'a'", "datasets.owner = 'x'"}) {
    EXPECT_EQ(search(bad).error().code, Code::kInvalidArgument) << bad;
  }
  EXPECT_FALSE(search("", {"metrics.m", "metrics.m DESC"}));
  EXPECT_FALSE(search("", {"datasets.name"}));
}

TEST_F(RunsTest, LongValuesAreFoundBeyondWhatTheIndexKnows) {
  const RunId a = start(1);
  const RunId b = start(2);
  const std::string same(64, 'x');
  ASSERT_TRUE(log(a, {{}, {{"p", same + "a"}}, {}}));
  ASSERT_TRUE(log(b, {{}, {{"p", same + "b"}}, {}}));
  EXPECT_EQ(ids("params.p = '" + same + "b'"), std::vector<RunId>{b});
}

// Whatever drives a search, it must answer what a walk over all runs answers.
RC_GTEST_FIXTURE_PROP(RunsTest, AnswersWhatPlainSortingAnswers, ()) {
  SetUp();
  const auto values = *rc::gen::resize(12, rc::gen::container<std::vector<int>>(rc::gen::inRange(-1, 4)));
  std::vector<std::pair<int, RunId>> with;
  const auto experiment = write([&](sql::Tx& tx) -> Result<ExperimentId> {
    const ExperimentId id = TM_TRY(runs_->add_experiment(tx, actor_, {"e", "", {}})).id;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const RunId run = TM_TRY(runs_->start(tx, {id, "run", "ann", static_cast<std::int64_t>(i), {}})).info.id;
      if (values[i] < 0) continue;
      TM_CHECK(runs_->log(tx, run, {{{{static_cast<double>(values[i]), 1, 0}, "v", "", "", ""}}, {}, {}}));
      with.emplace_back(values[i], run);
    }
    return id;
  });
  RC_ASSERT(experiment.has_value());
  std::reverse(with.begin(), with.end());  // later starts first
  std::ranges::stable_sort(with, std::greater<>(), &std::pair<int, RunId>::first);
  std::vector<RunId> expected;
  for (const auto& [value, id] : with) {
    if (value >= 1) expected.push_back(id);
  }
  const auto page = search("metrics.v >= 1", {"metrics.v DESC"}, View::active, 100, 0, {*experiment});
  RC_ASSERT(page.has_value());
  std::vector<RunId> found;
  for (const runs::Run& run : page->items) found.push_back(run.info.id);
  RC_ASSERT(found == expected);
}

TEST_F(RunsTest, ThinsLongCurvesAndKeepsTheirEnds) {
  const RunId id = start();
  Batch batch;
  for (int i = 0; i < 1'000; ++i) batch.metrics.push_back({{static_cast<double>(i), 1, i * 3}, "m", "", "", ""});
  ASSERT_TRUE(log(id, batch));
  const auto curve = [&](CurveQuery query) {
    query.runs = {id};
    query.key = "m";
    return read([&](sql::Tx& tx) { return runs_->curves(tx, query); }).value();
  };
  const auto thin = curve({.runs = {}, .key = "", .points_max = 10});
  EXPECT_EQ(thin.size(), 11U);
  EXPECT_EQ(thin.front().step, 0);
  EXPECT_EQ(thin.back().step, 2'997);
  EXPECT_EQ(curve({.runs = {}, .key = "", .points_max = 1'000}).size(), 1'000U);
  EXPECT_EQ(curve({.runs = {}, .key = "", .step_low = 3, .step_high = 9, .points_max = 10}).size(), 3U);
  EXPECT_TRUE(curve({.runs = {}, .key = "", .step_low = 4, .step_high = 5, .points_max = 10}).empty());
  const auto page = read([&](sql::Tx& tx) { return runs_->history(tx, id, "m", 300, 900); }).value();
  EXPECT_EQ(page.items.size(), 100U);
  EXPECT_FALSE(page.next);
  EXPECT_EQ(read([&](sql::Tx& tx) { return runs_->history(tx, id, "m", 300, 600); }).value().next, 900);
}

TEST_F(RunsTest, ManyWritersAtOnceLoseNothing) {
  const RunId id = start();
  constexpr int kWrites = 200;
  std::atomic<int> left = kWrites;
  std::promise<void> all;
  for (int i = 0; i < kWrites; ++i) {
    runs_->log_async(id, {{{{static_cast<double>(i), 1, i}, "m" + std::to_string(i % 7), "", "", ""}}, {}, {}},
                     [&](Result<void> done) {
                       EXPECT_TRUE(done);
                       if (--left == 0) all.set_value();
                     });
  }
  all.get_future().wait();
  std::int64_t points = 0;
  for (const auto& metric : get(id).metrics) points += metric.points;
  EXPECT_EQ(points, kWrites);
}

TEST_F(RunsTest, EndsOnlyAfterWhatIsQueued) {
  const RunId id = start();
  std::atomic<int> done = 0;
  for (int i = 0; i < 50; ++i) {
    runs_->log_async(id, {{{{1, 1, i}, "m", "", "", ""}}, {}, {}},
                     [&](Result<void> result) { done += result ? 1 : 0; });
  }
  runs_.reset();
  EXPECT_EQ(done, 50);
}

class ArtefactsTest : public RunsTest {
 protected:
  Result<Artefact> put(std::string_view path, const std::string& content = "x") {
    const auto file = folder_.path() / "upload";
    std::ofstream(file) << content;
    return runs_->put_artefact(actor_, path, file);
  }
  std::vector<std::string> list(std::string_view folder) {
    std::vector<std::string> names;
    const auto entries = read([&](sql::Tx& tx) { return runs_->entries(tx, folder); });
    for (const Entry& entry : *entries) names.push_back(entry.name + (entry.is_folder ? "/" : ""));
    return names;
  }
};

TEST_F(ArtefactsTest, ListsFoldersWithoutReadingBeneathThem) {
  for (const char* path : {"0/r/artifacts/a.txt", "0/r/artifacts/a/b.txt", "0/r/artifacts/a/c/d.txt",
                           "0/r/artifacts/a0", "0/r/artifacts/汉/x", "0/r2/artifacts/z"}) {
    ASSERT_TRUE(put(path)) << path;
  }
  EXPECT_EQ(list("0/r/artifacts"), (std::vector<std::string>{"a/", "a.txt", "a0", "汉/"}));
  EXPECT_EQ(list("0/r/artifacts/a"), (std::vector<std::string>{"b.txt", "c/"}));
  EXPECT_EQ(list("0/r/artifacts/a.txt"), std::vector<std::string>{});
  EXPECT_EQ(list(""), std::vector<std::string>{"0/"});
  ASSERT_TRUE(runs_->delete_artefacts(actor_, "0/r/artifacts/a"));
  EXPECT_EQ(list("0/r/artifacts"), (std::vector<std::string>{"a.txt", "a0", "汉/"}));
  EXPECT_EQ(runs_->delete_artefacts(actor_, "0/r/artifacts/a").error().code, Code::kNotFound);
}

TEST_F(ArtefactsTest, AFileIsNoFolderAndAFolderNoFile) {
  ASSERT_TRUE(put("0/a/b"));
  EXPECT_EQ(put("0/a").error().reason, "artefacts.path_taken");
  EXPECT_EQ(put("0/a/b/c").error().reason, "artefacts.path_taken");
  ASSERT_TRUE(put("0/a/b", "new"));
  const auto now = read([&](sql::Tx& tx) { return runs_->artefact(tx, "0/a/b"); }).value();
  EXPECT_EQ(now.bytes, 3U);
  EXPECT_EQ(blobs_->read(blobs::BlobId::trusted(now.blob), 10).value(), "new");
}

TEST_F(ArtefactsTest, RefusesPathsThatLeadElsewhere) {
  for (const char* path : {"", "/etc/passwd", "../x", "0/../x", "0//x", "0/./x", "0\\x", "a/\x01", "a/.."}) {
    EXPECT_EQ(put(path).error().code, Code::kInvalidArgument) << path;
    EXPECT_FALSE(read([&](sql::Tx& tx) { return runs_->artefact(tx, path); })) << path;
  }
}

TEST_F(RunsTest, LoggedModelsKeepWhatIsMeasuredOfThem) {
  const auto model = write([&](sql::Tx& tx) {
                       return runs_->add_model(tx, actor_, {ExperimentId(0), "m", "", "", {{"a", "1"}}, {}});
                     }).value();
  const RunId id = start();
  ASSERT_TRUE(log(
      id, {{{{0.1, 1, 1}, "auc", model.id.str(), "d", "x"}, {{0.2, 1, 2}, "auc", model.id.str(), "d", "x"}}, {}, {}}));
  const auto read_back = read([&](sql::Tx& tx) { return runs_->model(tx, model.id); }).value();
  ASSERT_EQ(read_back.metrics.size(), 1U);
  EXPECT_EQ(read_back.metrics.front().value, 0.2);
  EXPECT_EQ(read_back.metrics.front().run, id.str());
  EXPECT_FALSE(write([&](sql::Tx& tx) { return runs_->add_model_params(tx, model.id, {{"a", "2"}}); }));
  const auto found = [&](const std::string& filter) {
    return read([&](sql::Tx& tx) {
             return runs_->search_models(tx, {{ExperimentId(0)}, filter, {"metrics.auc DESC"}});
           })
        .value()
        .items.size();
  };
  EXPECT_EQ(found("metrics.auc > 0.15"), 1U);
  EXPECT_EQ(found("metrics.auc > 0.25"), 0U);
  EXPECT_EQ(found("name = 'm' AND params.a = '1' AND status = 'PENDING'"), 1U);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->finish_model(tx, actor_, model.id, LoggedModelStatus::ready); }));
  EXPECT_EQ(found("status = 'READY'"), 1U);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->delete_model(tx, actor_, model.id); }));
  EXPECT_EQ(found(""), 0U);
  EXPECT_EQ(read([&](sql::Tx& tx) { return runs_->model(tx, model.id); }).error().code, Code::kNotFound);
}

TEST_F(RunsTest, FindsExperiments) {
  const auto add = [&](const std::string& name, std::vector<KeyValue> tags) {
    clock_.advance_ms(1);
    return write([&](sql::Tx& tx) { return runs_->add_experiment(tx, actor_, {name, "", tags}); }).value().id;
  };
  const auto a = add("alpha", {{"team", "risk"}});
  const auto b = add("Beta", {});
  const auto found = [&](const std::string& filter, std::vector<std::string> order = {}) {
    std::vector<std::int64_t> ids;
    const auto page = read([&](sql::Tx& tx) { return runs_->search_experiments(tx, {{}, filter, order}); });
    for (const auto& experiment : page.value().items) ids.push_back(experiment.id.number());
    return ids;
  };
  EXPECT_EQ(found(""), (std::vector<std::int64_t>{b.number(), a.number(), 0}));
  EXPECT_EQ(found("", {"name ASC"}), (std::vector<std::int64_t>{b.number(), 0, a.number()}));
  EXPECT_EQ(found("name ILIKE 'b%'"), std::vector<std::int64_t>{b.number()});
  EXPECT_EQ(found("name LIKE 'b%'"), std::vector<std::int64_t>{});
  EXPECT_EQ(found("tags.team = 'risk'"), std::vector<std::int64_t>{a.number()});
  EXPECT_EQ(found("tags.team IS NULL").size(), 2U);
  EXPECT_EQ(found("experiment_id IN ('" + a.str() + "')"), std::vector<std::int64_t>{a.number()});
  EXPECT_EQ(found("creation_time > " + std::to_string(clock_.now_ms() - 1)), std::vector<std::int64_t>{b.number()});
}

}  // namespace
}  // namespace tidemill::runs
