#include "api/rest/traces.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace tidemill::rest {
namespace {

using access::Right;
using traces::Traces;

constexpr std::int64_t kListedByDefault = 100;
constexpr std::int64_t kExperimentsMax = 50'000;

using Values = std::map<std::string, std::string>;

struct AssessmentView {
  std::string id;
  traces::AssessmentKind kind = traces::AssessmentKind::feedback;
  std::string name;
  json::Value value;
  std::string source_type;
  std::string source_id;
  std::string rationale;
  std::optional<traces::AssessmentError> error;
  bool valid = true;
  std::int64_t updated_ms = 0;
};
BOOST_DESCRIBE_STRUCT(AssessmentView, (),
                      (id, kind, name, value, source_type, source_id, rationale, error, valid, updated_ms))

struct TraceView {
  std::string id;
  std::string experiment_id;
  std::string name;
  traces::State state = traces::State::state_unspecified;
  std::int64_t start_ms = 0;
  std::optional<std::int64_t> duration_ms;
  std::string client_request_id;
  std::optional<std::string> request_preview;
  std::optional<std::string> response_preview;
  Values tags;
  Values metadata;
  traces::Usage usage;
  std::vector<AssessmentView> assessments;
  std::int64_t span_count = 0;
};
BOOST_DESCRIBE_STRUCT(TraceView, (),
                      (id, experiment_id, name, state, start_ms, duration_ms, client_request_id, request_preview,
                       response_preview, tags, metadata, usage, assessments, span_count))

// Times of spans are in nanoseconds since 1970, as texts: JSON's readers lose the last digits of such numbers.
struct SpanView {
  std::string id;
  std::string parent;
  std::string name;
  std::string type;
  traces::SpanStatus status = traces::SpanStatus::unset;
  std::string status_message;
  std::string start_ns;
  std::optional<double> duration_ms;
  json::Object attributes;
  std::vector<traces::SpanEvent> events;
};
BOOST_DESCRIBE_STRUCT(SpanView, (),
                      (id, parent, name, type, status, status_message, start_ns, duration_ms, attributes, events))

struct WholeTrace : TraceView {
  std::vector<SpanView> spans;
};
BOOST_DESCRIBE_STRUCT(WholeTrace, (TraceView), (spans))

struct TraceList {
  std::vector<TraceView> traces;
  std::optional<std::string> next;
};
BOOST_DESCRIBE_STRUCT(TraceList, (), (traces, next))

struct TracesQuery {
  using json_defaults = void;
  std::vector<std::string> experiment;  // ids or names; none = all
  std::string filter;
  std::vector<std::string> order_by;
  std::int64_t limit = kListedByDefault;
  std::string next;
};
BOOST_DESCRIBE_STRUCT(TracesQuery, (), (experiment, filter, order_by, limit, next))

Values values_of(const std::vector<runs::KeyValue>& pairs) {
  Values values;
  for (const auto& [key, value] : pairs) values.emplace(key, value);
  return values;
}

TraceView view_of(const traces::Trace& trace) {
  TraceView view{trace.id.str(),
                 trace.experiment.str(),
                 trace.name.value_or(""),
                 trace.state,
                 trace.at_ms,
                 trace.duration_ms,
                 trace.client_request_id,
                 trace.request_preview,
                 trace.response_preview,
                 values_of(trace.tags),
                 values_of(trace.metadata),
                 trace.usage,
                 {},
                 trace.spans};
  for (const traces::Assessment& one : trace.assessments) {
    view.assessments.push_back({one.id.str(), one.kind, one.name, one.value, one.source_type, one.source_id,
                                one.rationale, one.error, one.valid, one.updated_ms});
  }
  return view;
}

SpanView view_of(traces::Span&& span) {
  std::optional<double> duration_ms;
  if (span.end_ns) duration_ms = static_cast<double>(*span.end_ns - span.start_ns) / 1e6;
  return {std::move(span.id),
          std::move(span.parent),
          std::move(span.name),
          std::move(span.type),
          span.status,
          std::move(span.status_message),
          std::to_string(span.start_ns),
          duration_ms,
          std::move(span.attributes),
          std::move(span.events)};
}

Result<std::int64_t> offset_of(const std::string& next) {
  if (next.empty()) return 0;
  std::int64_t offset = 0;
  const auto [end, error] = std::from_chars(next.data(), next.data() + next.size(), offset);
  if (error == std::errc{} && end == next.data() + next.size() && offset >= 0) return offset;
  return fail(Code::kInvalidArgument, "traces.bad_next", fmt::format("'{}' is no next page.", next.substr(0, 64)),
              "Give the `next` of the last answer.");
}

Result<std::vector<runs::ExperimentId>> experiments_of(runs::Runs& runs, sql::Tx& tx, const TracesQuery& query) {
  std::vector<runs::ExperimentId> ids;
  for (const std::string& name : query.experiment) {
    const auto id = runs::ExperimentId::parse(name);
    ids.push_back(TM_TRY(id ? runs.experiment(tx, *id) : runs.experiment(tx, std::string_view(name))).id);
  }
  if (!ids.empty()) return ids;
  runs::Search all;
  all.limit = kExperimentsMax;
  for (const auto& experiment : TM_TRY(runs.search_experiments(tx, all)).items) ids.push_back(experiment.id);
  return ids;
}

Result<TraceList> list(Traces& traces, runs::Runs& runs, const TracesQuery& query) {
  const std::int64_t offset = TM_TRY(offset_of(query.next));
  const auto page = TM_TRY(traces.database().read([&](sql::Tx& tx) -> Result<runs::Page<traces::Trace>> {
    const auto experiments = TM_TRY(experiments_of(runs, tx, query));
    return traces.search(tx, {experiments, query.filter, query.order_by, query.limit, offset});
  }));
  TraceList out;
  if (page.next) out.next = std::to_string(*page.next);
  for (const traces::Trace& trace : page.items) out.traces.push_back(view_of(trace));
  return out;
}

Result<WholeTrace> show(Traces& traces, const http::Request& request) {
  const auto id = TM_TRY(traces::TraceId::parse(request.param("id")));
  return traces.database().read([&](sql::Tx& tx) -> Result<WholeTrace> {
    WholeTrace whole{view_of(TM_TRY(traces.trace(tx, id))), {}};
    for (traces::Span& span : TM_TRY(traces.spans(tx, id))) whole.spans.push_back(view_of(std::move(span)));
    return whole;
  });
}

}  // namespace

std::vector<http::Route> traces_routes(Traces& traces, runs::Runs& runs) {
  std::vector<http::Route> routes;
  routes.push_back(http::get_query<TracesQuery, TraceList>(
      "/api/traces", Right::read, "List traces, newest first, or as `filter` and `order_by` say",
      [&traces, &runs](const http::Request&, const TracesQuery& query) { return list(traces, runs, query); }));
  routes.push_back(http::get<WholeTrace>("/api/traces/{id}", Right::read, "Get a trace with its spans and assessments",
                                         [&traces](const http::Request& request) { return show(traces, request); }));
  return routes;
}

}  // namespace tidemill::rest
