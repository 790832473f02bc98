// Reading curves: whole, in pages, or thinned for a chart.
#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <utility>

#include "flow/runs/checks.h"
#include "flow/runs/metric_value.h"
#include "flow/runs/runs.h"

namespace tidemill::runs {
namespace {

constexpr std::size_t kRunsOfOneChartMax = 100;
// Up to here the points of a chart are chosen as MLflow chooses them, which takes reading all of them; longer curves
// are thinned by descents into the index.
constexpr std::uint64_t kExactStepsMax = 2'500;
constexpr std::int64_t kExactPointsMax = 25'000;

constexpr sql::Query kCurveOf{"runs.curve_of",
                              "SELECT r.n, k.id FROM runs r, run_keys k WHERE r.id = ?1 AND k.key = ?2"};
constexpr sql::Query kHistory{"runs.history",
                              "SELECT step, at_ms, value FROM run_metrics WHERE run = ?1 AND key = ?2"
                              " ORDER BY step, at_ms, value LIMIT ?3 OFFSET ?4"};
constexpr sql::Query kRange{
    "runs.curve_range",
    "SELECT step, at_ms, value FROM run_metrics WHERE run = ?1 AND key = ?2 AND step BETWEEN ?3 AND ?4"
    " ORDER BY step, at_ms, value LIMIT ?5"};
constexpr sql::Query kFirstFrom{
    "runs.curve_first_from",
    "SELECT step, at_ms, value FROM run_metrics WHERE run = ?1 AND key = ?2 AND step BETWEEN ?3 AND ?4"
    " ORDER BY step, at_ms, value LIMIT 1"};
constexpr sql::Query kLast{
    "runs.curve_last",
    "SELECT step, at_ms, value FROM run_metrics WHERE run = ?1 AND key = ?2 AND step BETWEEN ?3 AND ?4"
    " ORDER BY step DESC, at_ms DESC, value DESC LIMIT 1"};

struct CurveId {
  std::int64_t run = 0;
  std::int64_t key = 0;
};

Point read_point(const sql::Row& row) { return {from_sortable(row.integer(2)), row.integer(1), row.integer(0)}; }

Result<std::optional<CurveId>> find_curve(sql::Tx& tx, const RunId& run, std::string_view key) {
  return tx.one<CurveId>(
      kCurveOf,
      [](const sql::Row& row) {
        return CurveId{row.integer(0), row.integer(1)};
      },
      run, key);
}

// Returns at most about `points_max` points with steps in [low, high], evenly spread over the steps, first and last
// included. Each costs one descent into the index, so that a curve of ten million points costs what one of a thousand
// does.
Result<std::vector<Point>> thinned(sql::Tx& tx, const CurveId& curve, std::int64_t low, std::int64_t high,
                                   std::int64_t points_max) {
  auto all = TM_TRY(tx.all<Point>(kRange, read_point, curve.run, curve.key, low, high, points_max + 1));
  if (static_cast<std::int64_t>(all.size()) <= points_max) return all;
  const std::int64_t first = all.front().step;
  const auto last = TM_TRY(tx.one<Point>(kLast, read_point, curve.run, curve.key, low, high));
  std::vector<Point> points;
  if (!last) return points;
  const long double width = static_cast<long double>(last->step) - static_cast<long double>(first);
  std::int64_t from = first;
  for (std::int64_t i = 0; i < points_max && from <= last->step; ++i) {
    const auto wanted = static_cast<std::int64_t>(
        static_cast<long double>(first) + width * static_cast<long double>(i) / static_cast<long double>(points_max));
    const auto point =
        TM_TRY(tx.one<Point>(kFirstFrom, read_point, curve.run, curve.key, std::max(wanted, from), high));
    if (!point) break;
    points.push_back(*point);
    if (point->step == last->step) break;
    from = point->step + 1;
  }
  if (points.back().step < last->step) points.push_back(*last);
  return points;
}

// Where one of the curves of a chart begins and ends within the steps asked for.
struct Curve {
  RunId run;
  CurveId id;
  Point first;
  Point last;
};

// Returns the steps of a chart as MLflow chooses them: all, or every n-th of the steps that any curve has, with the
// last one; and the first and last of each curve, so that none looks shorter than it is.
std::set<std::int64_t> chosen_steps(const std::vector<Curve>& curves, const std::set<std::int64_t>& all,
                                    std::int64_t points_max) {
  if (static_cast<std::int64_t>(all.size()) <= points_max) return all;
  const std::vector<std::int64_t> steps(all.begin(), all.end());
  std::set<std::int64_t> chosen{steps.back()};
  const double interval = static_cast<double>(steps.size()) / static_cast<double>(points_max);
  for (std::int64_t i = 0; i < points_max; ++i) {
    chosen.insert(steps.at(static_cast<std::size_t>(static_cast<double>(i) * interval)));
  }
  for (const Curve& curve : curves) {
    chosen.insert(curve.first.step);
    chosen.insert(curve.last.step);
  }
  return chosen;
}

// Returns the points at the steps that MLflow would choose, or nothing when the curves are too long to be read for it.
Result<std::optional<std::vector<RunPoint>>> as_mlflow(sql::Tx& tx, const std::vector<Curve>& curves,
                                                       std::int64_t points_max) {
  using Found = std::optional<std::vector<RunPoint>>;
  const auto [low, high] = std::accumulate(
      curves.begin(), curves.end(), std::pair{curves.front().first.step, curves.front().last.step},
      [](auto range, const Curve& curve) {
        return std::pair{std::min(range.first, curve.first.step), std::max(range.second, curve.last.step)};
      });
  const std::uint64_t span = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  if (span >= kExactStepsMax) return Found();
  std::vector<RunPoint> points;
  std::set<std::int64_t> steps;
  for (const Curve& curve : curves) {
    const auto found =
        TM_TRY(tx.all<Point>(kRange, read_point, curve.id.run, curve.id.key, low, high, kExactPointsMax + 1));
    if (static_cast<std::int64_t>(found.size()) > kExactPointsMax) return Found();
    for (const Point& point : found) {
      steps.insert(point.step);
      points.push_back({point, curve.run});
    }
  }
  const auto chosen = chosen_steps(curves, steps, points_max);
  std::erase_if(points, [&](const RunPoint& point) { return !chosen.contains(point.step); });
  return points;
}

}  // namespace

Result<Page<Point>> Runs::history(sql::Tx& tx, const RunId& id, std::string_view key, std::int64_t limit,
                                  std::int64_t offset) {
  TM_CHECK(info(tx, id));
  Page<Point> page;
  const auto curve = TM_TRY(find_curve(tx, id, key));
  if (!curve) return page;
  page.items = TM_TRY(tx.all<Point>(kHistory, read_point, curve->run, curve->key, limit + 1, offset));
  if (static_cast<std::int64_t>(page.items.size()) > limit) {
    page.items.pop_back();
    page.next = offset + limit;
  }
  return page;
}

Result<std::vector<RunPoint>> Runs::curves(sql::Tx& tx, const CurveQuery& query) {
  if (query.runs.size() > kRunsOfOneChartMax) {
    return invalid("GetMetricHistoryBulk request cannot specify more than 100 run_ids.", "Ask for fewer runs at once.");
  }
  const std::int64_t low = query.step_low.value_or(std::numeric_limits<std::int64_t>::min());
  const std::int64_t high = query.step_high.value_or(std::numeric_limits<std::int64_t>::max());
  std::vector<Curve> curves;
  for (const RunId& run : query.runs) {
    const auto id = TM_TRY(find_curve(tx, run, query.key));
    if (!id) continue;
    const auto first = TM_TRY(tx.one<Point>(kFirstFrom, read_point, id->run, id->key, low, high));
    const auto last = TM_TRY(tx.one<Point>(kLast, read_point, id->run, id->key, low, high));
    if (first && last) curves.push_back({run, *id, *first, *last});
  }
  std::vector<RunPoint> points;
  if (curves.empty()) return points;
  if (auto exact = TM_TRY(as_mlflow(tx, curves, query.points_max))) return *std::move(exact);
  for (const Curve& curve : curves) {
    for (const Point& point : TM_TRY(thinned(tx, curve.id, low, high, query.points_max)))
      points.push_back({point, curve.run});
  }
  return points;
}

}  // namespace tidemill::runs
