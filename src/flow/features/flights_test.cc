// The demo's view over its real year of flights: against values that pandas gave, and against DuckDB's ASOF joins and
// plain range joins for every hour and key. Skipped where the demo's Python environment is not set up.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "base/files.h"
#include "base/yaml.h"
#include "flow/features/convert.h"
#include "flow/features/engine.h"
#include "flow/features/memory.h"
#include "flow/features/plan.h"
#include "storage/tables/tables.h"

namespace tidemill::features {
namespace {

using tables::Frame;
using tables::Type;

const std::filesystem::path kSource = TIDEMILL_SOURCE_DIR;
const std::filesystem::path kPython = kSource / "build/venv/bin/python";

// The year, prepared once for all tests.
class Year {
 public:
  Year() {
    const std::string command =
        fmt::format("OMP_NUM_THREADS=1 '{}' -W ignore '{}' '{}'", kPython.string(),
                    (kSource / "examples/flights/prepare.py").string(), folder_.path().string());
    if (std::system(command.c_str()) != 0) return;  // allowed: paths of the test's own
    flights = tables->read_files(months("flights")).value();
    weather = tables->read_files(months("weather")).value();
    planes = tables->read_files({folder_.path() / "planes.csv"}).value();
    make_plan_of_demo();
  }

  Frame compute_all(const Frame& request) const {
    std::vector<const SourceMemory*> sources;
    for (const auto& memory : memories_) sources.push_back(memory.get());
    return compute(plan, sources, request, request.find("sched_dep_ms")->integers()).value();
  }

 private:
  TemporaryFolder folder_ = TemporaryFolder::create().value();
  std::vector<std::unique_ptr<SourceMemory>> memories_;

 public:
  std::unique_ptr<tables::Tables> tables = tables::Tables::create({.folders = {folder_.path()}}).value();
  Frame flights, weather, planes;
  Plan plan;

 private:
  std::vector<std::filesystem::path> months(const std::string& name) const {
    std::vector<std::filesystem::path> files;
    for (int month = 1; month <= 12; ++month) {
      files.push_back(folder_.path() / fmt::format("{}-2013-{:02}.csv", name, month));
    }
    return files;
  }

  static DatasetShape shape(const Frame& frame, std::vector<std::string> keys) {
    DatasetShape out{{}, std::move(keys)};
    for (const tables::Column& column : frame.columns) out.columns.push_back({column.name, column.type});
    return out;
  }

  void make_plan_of_demo() {
    const auto text = read_file(kSource / "examples/flights/definitions/features.yaml", 1 << 20).value();
    const NewView view = json::from_json<NewView>(parse_yaml(text, "features.yaml").value()).value();
    std::vector<std::optional<DatasetShape>> shapes;
    for (const Source& source : view.sources) {
      if (source.dataset == "flights") shapes.emplace_back(shape(flights, {"flight_id"}));
      if (source.dataset == "weather") shapes.emplace_back(shape(weather, {"origin", "observed_ms"}));
      if (source.dataset == "planes") shapes.emplace_back(shape(planes, {"tailnum"}));
    }
    const Checked checked = check_definition(view, shapes).value();
    plan = make_plan({view.name, 1, "", checked.definition, checked.reads, checked.columns, "", 0}).value();
    for (const SourcePlan& source : plan.sources) {
      memories_.push_back(std::make_unique<SourceMemory>(source));
      const Frame& rows = source.dataset == "flights" ? flights : source.dataset == "weather" ? weather : planes;
      if (auto added = memories_.back()->add(rows); !added) ADD_FAILURE() << added.error().text();
    }
  }
};

class FlightsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (std::filesystem::exists(kPython)) year_ = std::make_unique<Year>();
  }
  static void TearDownTestSuite() { year_.reset(); }
  void SetUp() override {
    if (year_ == nullptr) GTEST_SKIP() << "tools/setup makes " << kPython;
    ASSERT_EQ(year_->flights.rows, 336'776u);
  }
  static inline std::unique_ptr<Year> year_;
};

double as_model_sees(const Frame& frame, const OutputColumn& column, std::size_t row) {
  const tables::Column& values = *frame.find(column.name);
  if (column.kind == ColumnKind::number) return values.number(row);
  const auto found = std::ranges::find(column.categories, values.texts()[row]);
  return static_cast<double>(found - column.categories.begin());
}

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

TEST_F(FlightsTest, TwoFlightsAsPandasHasThem) {
  struct Fixture {
    const char* flight;
    std::vector<double> values;
  };
  const Fixture fixtures[] = {
      {"20130310-B6727-JFK",
       {1439, 6,      1576, 219, 3,   1,       39.02,   33.98, 81.95,  140,  8.05546, kNaN,
        0,    1026.9, 10,   11,  200, 0.18462, 0.15723, 0.6,   0.3141, kNaN, 0.66667}},  // the night of the change to
                                                                                         // summer time
      {"20131215-AA1-JFK", {540, 6,    2475, 385, 1,   1,   33.08,   28.94, 84.56,   300,  10.35702, kNaN,
                            0,   1002, 10,   27,  255, 0.4, 0.67556, 0,     0.54545, kNaN, 0.42424}}};
  const Frame all = year_->compute_all(year_->flights);
  for (const Fixture& fixture : fixtures) {
    const auto& ids = year_->flights.find("flight_id")->texts();
    const auto row = static_cast<std::size_t>(std::ranges::find(ids, fixture.flight) - ids.begin());
    ASSERT_LT(row, ids.size());
    // The view gives request columns first, as the fixtures have them.
    ASSERT_EQ(year_->plan.view.columns.size(), fixture.values.size());
    for (std::size_t i = 0; i < fixture.values.size(); ++i) {
      const double got = as_model_sees(all, year_->plan.view.columns[i], row);
      const std::string where = fmt::format("{} {}", fixture.flight, year_->plan.view.columns[i].name);
      if (std::isnan(fixture.values[i])) {
        EXPECT_TRUE(std::isnan(got)) << where << " is " << got;
      } else {
        EXPECT_NEAR(got, fixture.values[i], 5e-6) << where;
      }
    }
  }
}

// Both sides are frames ordered by (key, tick). The same bits, or the first difference.
void expect_same(const tables::Column& ours, const tables::Column& theirs, const std::string& name) {
  ASSERT_EQ(ours.size(), theirs.size());
  std::size_t there = 0;
  for (std::size_t row = 0; row < ours.size(); ++row) {
    ASSERT_EQ(ours.is_missing(row), theirs.is_missing(row)) << name << " row " << row;
    if (ours.is_missing(row)) continue;
    ASSERT_EQ(ours.number(row), theirs.number(row)) << name << " row " << row;
    ++there;
  }
  EXPECT_GT(there, ours.size() / 10) << name;
}

TEST_F(FlightsTest, WindowsAreWhatDuckDbCountsUp) {
  for (const std::string key : {"origin", "carrier", "dest"}) {
    const Frame asked =
        year_->tables
            ->query(
                {"asked", fmt::format("SELECT DISTINCT {0}, sched_dep_ms // 3600000 * 3600000 AS sched_dep_ms "
                                      "FROM flights WHERE month(make_timestamp(sched_dep_ms * 1000)) = 3 ORDER BY 1, 2",
                                      key)},
                {}, {{"flights", &year_->flights}})
            .value();
    ASSERT_GT(asked.rows, 1'000u);
    Frame request = asked;
    for (const RequestColumn& column : year_->plan.view.definition.request) {
      if (column.name == key) continue;
      request.columns.push_back(tables::Column::make(column.name, column.type));
      for (std::size_t row = 0; row < request.rows; ++row) request.columns.back().append_missing();
    }
    const Frame ours = year_->compute_all(request);
    for (const int hours : {3, 24}) {
      const Frame theirs =
          year_->tables
              ->query({"windows",
                       // sql: the column names are the test's own
                       fmt::format(
                           "SELECT a.{0}, a.sched_dep_ms, avg(f.late) AS value FROM asked a LEFT JOIN flights f "
                           "ON f.{0} = a.{0} AND f.landed_ms < a.sched_dep_ms AND f.landed_ms >= a.sched_dep_ms - {1} "
                           "GROUP BY 1, 2 ORDER BY 1, 2",
                           key, hours * 3'600'000)},
                      {}, {{"asked", &asked}, {"flights", &year_->flights}})
              .value();
      const std::string name = fmt::format("{}_late_{}h", key, hours);
      expect_same(*ours.find(name), *theirs.find("value"), name);
    }
  }
}

TEST_F(FlightsTest, WeatherIsWhatDuckDbFindsAsOf) {
  const Frame ours = year_->compute_all(year_->flights);
  for (const std::string name : {"temp", "wind_gust", "pressure"}) {
    const Frame theirs =
        year_->tables
            ->query({"as_of",
                     // sql: the column names are the test's own
                     fmt::format("WITH a AS (SELECT flight_id, row_number() OVER () AS n, origin, sched_dep_ms // "
                                 "3600000 * 3600000 AS tick FROM flights), "
                                 "w AS (SELECT origin, observed_ms + 55 * 60000 AS known_ms, {0} FROM weather) "
                                 "SELECT a.n, CASE WHEN w.known_ms >= a.tick - 4 * 3600000 THEN w.{0} END AS value "
                                 "FROM a ASOF LEFT JOIN w ON a.origin = w.origin AND a.tick > w.known_ms ORDER BY a.n",
                                 name)},
                    {}, {{"flights", &year_->flights}, {"weather", &year_->weather}})
            .value();
    expect_same(*ours.find(name), *theirs.find("value"), name);
  }
}

}  // namespace
}  // namespace tidemill::features
