#include "api/rest/runs.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace tidemill::rest {
namespace {

using access::Right;
using runs::Runs;

constexpr std::int64_t kListedByDefault = 100;
constexpr std::int64_t kListedMax = 1'000;
constexpr std::size_t kComparedMax = 100;
constexpr std::int64_t kChartPoints = 320;
constexpr std::int64_t kChartPointsMax = 2'500;
constexpr std::int64_t kExperimentsMax = 50'000;

struct ExperimentView {
  std::string id;
  std::string name;
  runs::Lifecycle lifecycle = runs::Lifecycle::active;
  runs::Tags tags;
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
};
BOOST_DESCRIBE_STRUCT(ExperimentView, (), (id, name, lifecycle, tags, made_by, made_ms, updated_ms))

struct ExperimentList {
  std::vector<ExperimentView> experiments;
  std::optional<std::string> next;
};
BOOST_DESCRIBE_STRUCT(ExperimentList, (), (experiments, next))

// JSON has no NaN and no infinity: `value` is absent for those, and `text` says which it is.
struct MetricView {
  std::string key;
  std::optional<double> value;
  std::optional<std::string> text;
  std::int64_t step = 0;
  std::int64_t at_ms = 0;
  std::int64_t points = 0;
};
BOOST_DESCRIBE_STRUCT(MetricView, (), (key, value, text, step, at_ms, points))

struct PointView {
  std::optional<double> value;
  std::optional<std::string> text;
  std::int64_t step = 0;
  std::int64_t at_ms = 0;
};
BOOST_DESCRIBE_STRUCT(PointView, (), (value, text, step, at_ms))

struct Curve {
  std::string run;
  std::string key;
  std::vector<PointView> points;
};
BOOST_DESCRIBE_STRUCT(Curve, (), (run, key, points))

struct InputView {
  std::string name;
  std::string digest;
  std::string source_type;
  std::string source;
  std::vector<runs::KeyValue> tags;
};
BOOST_DESCRIBE_STRUCT(InputView, (), (name, digest, source_type, source, tags))

struct RunView {
  std::string id;
  std::string name;
  std::string experiment_id;
  std::string person;
  runs::Status status = runs::Status::running;
  runs::Lifecycle lifecycle = runs::Lifecycle::active;
  std::optional<std::int64_t> start_ms;
  std::optional<std::int64_t> end_ms;
  std::vector<MetricView> metrics;
  std::vector<runs::KeyValue> params;
  std::vector<runs::KeyValue> tags;
  std::vector<InputView> inputs;
  std::vector<std::string> models;  // ids of the logged models that it made
};
BOOST_DESCRIBE_STRUCT(RunView, (),
                      (id, name, experiment_id, person, status, lifecycle, start_ms, end_ms, metrics, params, tags,
                       inputs, models))

struct RunList {
  std::vector<RunView> runs;
  std::optional<std::string> next;
};
BOOST_DESCRIBE_STRUCT(RunList, (), (runs, next))

struct EntryList {
  std::string folder;
  std::vector<runs::Entry> entries;
};
BOOST_DESCRIBE_STRUCT(EntryList, (), (folder, entries))

// One line of a comparison: what each run has, in the order asked; absent where it has nothing.
struct ParamLine {
  std::string key;
  std::vector<std::optional<std::string>> values;
  bool differs = false;
};
BOOST_DESCRIBE_STRUCT(ParamLine, (), (key, values, differs))

struct MetricLine {
  std::string key;
  std::vector<std::optional<double>> values;
  bool differs = false;
};
BOOST_DESCRIBE_STRUCT(MetricLine, (), (key, values, differs))

struct Comparison {
  std::vector<RunView> runs;
  std::vector<ParamLine> params;
  std::vector<MetricLine> metrics;
};
BOOST_DESCRIBE_STRUCT(Comparison, (), (runs, params, metrics))

struct ListQuery {
  using json_defaults = void;
  std::vector<std::string> experiment;  // ids or names; none = all
  std::string filter;
  std::vector<std::string> order_by;
  runs::View view = runs::View::active;
  std::int64_t limit = kListedByDefault;
  std::string next;
};
BOOST_DESCRIBE_STRUCT(ListQuery, (), (experiment, filter, order_by, view, limit, next))

struct CompareQuery {
  std::vector<std::string> run;
};
BOOST_DESCRIBE_STRUCT(CompareQuery, (), (run))

struct CurveQuery {
  std::string key;
  std::optional<std::int64_t> from;
  std::optional<std::int64_t> to;
  std::optional<std::int64_t> points;
};
BOOST_DESCRIBE_STRUCT(CurveQuery, (), (key, from, to, points))

struct FolderQuery {
  using json_defaults = void;
  std::string folder;
};
BOOST_DESCRIBE_STRUCT(FolderQuery, (), (folder))

std::optional<double> finite(double value) { return std::isfinite(value) ? std::optional(value) : std::nullopt; }

std::optional<std::string> word_of(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return std::nullopt;
}

RunView view_of(const runs::Run& run) {
  RunView view{run.info.id.str(),
               run.info.name,
               run.info.experiment.str(),
               run.info.person,
               run.info.status,
               run.info.lifecycle,
               run.info.start_ms,
               run.info.end_ms,
               {},
               run.params,
               run.tags,
               {},
               {}};
  for (const auto& metric : run.metrics) {
    view.metrics.push_back(
        {metric.key, finite(metric.value), word_of(metric.value), metric.step, metric.at_ms, metric.points});
  }
  for (const auto& [dataset, tags] : run.inputs) {
    view.inputs.push_back({dataset.name, dataset.digest, dataset.source_type, dataset.source, tags});
  }
  for (const auto& model : run.output_models) view.models.push_back(model.model);
  return view;
}

ExperimentView view_of(const runs::Experiment& experiment) {
  return {experiment.id.str(), experiment.name,    experiment.lifecycle, experiment.tags,
          experiment.made_by,  experiment.made_ms, experiment.updated_ms};
}

Result<std::int64_t> offset_of(const std::string& next) {
  if (next.empty()) return 0;
  std::int64_t offset = 0;
  const auto [end, error] = std::from_chars(next.data(), next.data() + next.size(), offset);
  if (error == std::errc{} && end == next.data() + next.size() && offset >= 0) return offset;
  return fail(Code::kInvalidArgument, "runs.bad_next", fmt::format("'{}' is no next page.", next.substr(0, 64)),
              "Use the one of the last answer.");
}

template <class T>
std::optional<std::string> next_of(const runs::Page<T>& page) {
  return page.next ? std::optional(std::to_string(*page.next)) : std::nullopt;
}

Result<runs::Search> search_of(const ListQuery& query) {
  if (query.limit < 1 || query.limit > kListedMax) {
    return fail(Code::kInvalidArgument, "runs.bad_limit", fmt::format("limit is {}.", query.limit),
                fmt::format("Give a number from 1 to {}.", kListedMax));
  }
  return runs::Search{{}, query.filter, query.order_by, query.view, query.limit, TM_TRY(offset_of(query.next))};
}

Result<std::vector<runs::ExperimentId>> experiments_of(Runs& runs, sql::Tx& tx, const ListQuery& query) {
  std::vector<runs::ExperimentId> ids;
  for (const std::string& text : query.experiment) {
    const auto id = runs::ExperimentId::parse(text);
    ids.push_back(id ? *id : TM_TRY(runs.experiment(tx, text)).id);
  }
  if (!query.experiment.empty()) return ids;
  for (const auto& experiment :
       TM_TRY(runs.search_experiments(tx, {{}, {}, {}, runs::View::all, kExperimentsMax})).items) {
    ids.push_back(experiment.id);
  }
  return ids;
}

Result<RunList> list(Runs& runs, const ListQuery& query) {
  auto search = TM_TRY(search_of(query));
  const auto page = TM_TRY(runs.database().read([&](sql::Tx& tx) -> Result<runs::Page<runs::Run>> {
    search.experiments = TM_TRY(experiments_of(runs, tx, query));
    return runs.search(tx, search);
  }));
  RunList out{{}, next_of(page)};
  for (const runs::Run& run : page.items) out.runs.push_back(view_of(run));
  return out;
}

Result<ExperimentList> list_experiments(Runs& runs, const ListQuery& query) {
  const auto search = TM_TRY(search_of(query));
  const auto page = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.search_experiments(tx, search); }));
  ExperimentList out{{}, next_of(page)};
  for (const runs::Experiment& experiment : page.items) out.experiments.push_back(view_of(experiment));
  return out;
}

// Sets out one line for each key that any of the runs has.
template <class Line, class Items>
std::vector<Line> lines_of(const std::vector<RunView>& views, Items RunView::*items) {
  std::set<std::string> keys;
  for (const RunView& view : views) {
    for (const auto& item : view.*items) keys.insert(item.key);
  }
  std::vector<Line> lines;
  for (const std::string& key : keys) {
    Line line{key, {}, false};
    for (const RunView& view : views) {
      auto& value = line.values.emplace_back();
      for (const auto& item : view.*items) {
        if (item.key == key) value = item.value;
      }
      line.differs = line.differs || value != line.values.front();
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

Result<Comparison> compare(Runs& runs, const CompareQuery& query) {
  if (query.run.size() > kComparedMax) {
    return fail(Code::kInvalidArgument, "runs.too_many",
                fmt::format("{} runs are more than {}.", query.run.size(), kComparedMax), "Compare fewer.");
  }
  Comparison out;
  TM_CHECK(runs.database().read([&](sql::Tx& tx) -> Result<void> {
    for (const std::string& text : query.run)
      out.runs.push_back(view_of(TM_TRY(runs.run(tx, TM_TRY(runs::RunId::parse(text))))));
    return {};
  }));
  out.params = lines_of<ParamLine>(out.runs, &RunView::params);
  out.metrics = lines_of<MetricLine>(out.runs, &RunView::metrics);
  return out;
}

Result<Curve> curve(Runs& runs, const http::Request& request, const CurveQuery& query) {
  const auto id = TM_TRY(runs::RunId::parse(request.param("id")));
  const std::int64_t points = query.points.value_or(kChartPoints);
  if (points < 1 || points > kChartPointsMax) {
    return fail(Code::kInvalidArgument, "runs.bad_points", fmt::format("points is {}.", points),
                fmt::format("Give a number from 1 to {}.", kChartPointsMax));
  }
  Curve out{id.str(), query.key, {}};
  TM_CHECK(runs.database().read([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(runs.info(tx, id));
    for (const auto& point : TM_TRY(runs.curves(tx, {{id}, query.key, query.from, query.to, points}))) {
      out.points.push_back({finite(point.value), word_of(point.value), point.step, point.at_ms});
    }
    return {};
  }));
  return out;
}

Result<EntryList> list_artefacts(Runs& runs, const http::Request& request, const FolderQuery& query) {
  const auto id = TM_TRY(runs::RunId::parse(request.param("id")));
  EntryList out{query.folder, {}};
  TM_CHECK(runs.database().read([&](sql::Tx& tx) -> Result<void> {
    const std::string root = runs::artefact_folder(TM_TRY(runs.info(tx, id)));
    out.entries = TM_TRY(runs.entries(tx, query.folder.empty() ? root : root + "/" + query.folder));
    return {};
  }));
  return out;
}

}  // namespace

std::vector<http::Route> runs_routes(Runs& runs) {
  std::vector<http::Route> routes;
  routes.push_back(http::get_query<ListQuery, ExperimentList>(
      "/api/experiments", Right::read, "List experiments, newest first, or as `filter` and `order_by` say",
      [&runs](const http::Request&, const ListQuery& query) { return list_experiments(runs, query); }));
  routes.push_back(http::get<ExperimentView>(
      "/api/experiments/{id}", Right::read, "Get an experiment by id or name",
      [&runs](const http::Request& request) -> Result<ExperimentView> {
        return runs.database().read([&](sql::Tx& tx) -> Result<ExperimentView> {
          const auto id = runs::ExperimentId::parse(request.param("id"));
          return view_of(
              TM_TRY(id ? runs.experiment(tx, *id) : runs.experiment(tx, std::string_view(request.param("id")))));
        });
      }));
  routes.push_back(http::get_query<ListQuery, RunList>(
      "/api/runs", Right::read, "List runs, newest first, or as `filter` and `order_by` say",
      [&runs](const http::Request&, const ListQuery& query) { return list(runs, query); }));
  routes.push_back(http::get_query<CompareQuery, Comparison>(
      "/api/runs/compare", Right::read, "Set runs side by side: their parameters and metrics, line by line",
      [&runs](const http::Request&, const CompareQuery& query) { return compare(runs, query); }));
  routes.push_back(
      http::get<RunView>("/api/runs/{id}", Right::read, "Get a run with parameters, tags, latest metrics and inputs",
                         [&runs](const http::Request& request) -> Result<RunView> {
                           const auto id = TM_TRY(runs::RunId::parse(request.param("id")));
                           return view_of(TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.run(tx, id); })));
                         }));
  routes.push_back(http::get_query<CurveQuery, Curve>(
      "/api/runs/{id}/curve", Right::read, "Read a metric's history, thinned to `points` for a chart",
      [&runs](const http::Request& request, const CurveQuery& query) { return curve(runs, request, query); }));
  routes.push_back(http::get_query<FolderQuery, EntryList>(
      "/api/runs/{id}/artefacts", Right::read, "List a folder of a run's artefacts",
      [&runs](const http::Request& request, const FolderQuery& query) {
        return list_artefacts(runs, request, query);
      }));
  return routes;
}

}  // namespace tidemill::rest
