// Curves: whole, in pages, and thinned for charts.
#include <fmt/format.h>

#include "api/mlflow/parts.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kUnpagedMax = 1'000'000;  // points answered to clients that do not ask for pages
constexpr std::size_t kRunsMax = 100;
constexpr std::int64_t kChartPoints = 320;
constexpr std::int64_t kChartPointsMax = 2'500;
constexpr std::int64_t kBulkPoints = 25'000;

Result<std::string> history(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id", "run_uuid"))));
  const std::string key = TM_TRY(call.fields.required("metric_key"));
  const auto wanted = TM_TRY(call.fields.maybe_integer("max_results"));
  if (wanted && *wanted < 1) return invalid_value("max_results", *wanted, "a number from 1");
  const std::int64_t limit = wanted ? std::min(*wanted, runs.limits().history_results_max) : kUnpagedMax;
  const std::int64_t offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  auto found = runs.database().read([&](sql::Tx& tx) { return runs.history(tx, id, key, limit, offset); });
  // MLflow answers a run that does not exist as one without points.
  if (!found && found.error().code != Code::kNotFound) return std::unexpected(found.error());
  const auto page = found ? *std::move(found) : runs::Page<runs::Point>();
  JsonText json;
  json.begin_object().key("metrics").begin_array();
  for (const runs::Point& point : page.items) {
    json.begin_object();
    write(json, key, point);
    json.text("run_id", id.str()).end_object();
  }
  json.end_array();
  if (page.next) json.text("next_page_token", page_token(*page.next));
  json.end_object();
  return json.take();
}

std::unexpected<Error> bad_request(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "mlflow.bad_curves", std::move(message), std::move(remedy));
}

// What one of the two operations is called and may ask for.
struct CurvesOf {
  std::string_view name;
  std::int64_t points;
  std::int64_t points_max;
  bool thinned;  // spread over the whole curve; else the first points of each run
};

// Returns the first points of each run that exists.
Result<std::vector<runs::RunPoint>> beginnings(runs::Runs& runs, sql::Tx& tx, const runs::CurveQuery& query) {
  std::vector<runs::RunPoint> points;
  for (const runs::RunId& run : query.runs) {
    auto page = runs.history(tx, run, query.key, query.points_max, 0);
    if (!page && page.error().code == Code::kNotFound) continue;
    for (const runs::Point& point : TM_TRY(std::move(page)).items) points.push_back({point, run});
  }
  return points;
}

Result<std::string> curves(runs::Runs& runs, const Call& call, const CurvesOf& of) {
  runs::CurveQuery query;
  const auto ids = TM_TRY(call.fields.texts(call.fields.has("run_ids") ? "run_ids" : "run_id"));
  if (ids.empty()) {
    return bad_request(fmt::format("Missing value for required parameter 'run_ids'. {} request must specify at least "
                                   "one run_id.",
                                   of.name),
                       "Send it.");
  }
  if (ids.size() > kRunsMax) {
    return bad_request(fmt::format("{} request must specify at most {} run_ids. Received {} run_ids. {} request cannot "
                                   "specify more than {} run_ids.",
                                   of.name, kRunsMax, ids.size(), of.name, kRunsMax),
                       "Ask for fewer runs at once.");
  }
  for (const std::string& text : ids) {
    if (const auto id = run_id(text)) query.runs.push_back(*id);
  }
  query.key = TM_TRY(call.fields.text("metric_key"));
  if (query.key.empty()) {
    return bad_request(
        fmt::format("Missing value for required parameter 'metric_key'. {} request must specify a metric_key.",
                    of.name),
        "Send it.");
  }
  query.step_low = TM_TRY(call.fields.maybe_integer("start_step"));
  query.step_high = TM_TRY(call.fields.maybe_integer("end_step"));
  if (query.step_low.has_value() != query.step_high.has_value()) {
    return fail(Code::kInvalidArgument, "mlflow.half_interval",
                "If either start step or end step are specified, both must be specified.", "Send both, or none.");
  }
  if (query.step_low && *query.step_low > *query.step_high) {
    return fail(Code::kInvalidArgument, "mlflow.empty_interval",
                fmt::format("end_step must be greater than start_step. Found start_step={} and end_step={}.",
                            *query.step_low, *query.step_high),
                "Exchange them.");
  }
  query.points_max = TM_TRY(call.fields.maybe_integer("max_results")).value_or(of.points);
  if (query.points_max < 1 || query.points_max > of.points_max) {
    return bad_request(fmt::format("max_results must be between 1 and {}, not {}.", of.points_max, query.points_max),
                       "Ask for so many.");
  }
  const auto found = TM_TRY(runs.database().read(
      [&](sql::Tx& tx) { return of.thinned ? runs.curves(tx, query) : beginnings(runs, tx, query); }));
  JsonText json;
  json.begin_object().key("metrics").begin_array();
  for (const runs::RunPoint& point : found) {
    json.begin_object();
    write(json, query.key, point);
    json.text("run_id", point.run.str()).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace

void add_metrics(Endpoints& endpoints, runs::Runs& runs) {
  endpoints.add(Method::get, "/mlflow/metrics/get-history", Right::read, "Read a curve",
                [&runs](const Call& call) { return history(runs, call); });
  endpoints.add(Method::get, "/mlflow/metrics/get-history-bulk", Right::read, "Read a metric's curves in several runs",
                [&runs](const Call& call) {
                  return curves(runs, call, {"GetMetricHistoryBulk", kBulkPoints, kBulkPoints, false});
                });
  endpoints.add(Method::get, "/mlflow/metrics/get-history-bulk-interval", Right::read,
                "Read curves thinned for a chart", [&runs](const Call& call) {
                  return curves(runs, call, {"GetMetricHistoryBulkInterval", kChartPoints, kChartPointsMax, true});
                });
}

}  // namespace tidemill::mlflow
