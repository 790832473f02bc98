// Spans: their intake and their reading.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "flow/traces/checks.h"
#include "flow/traces/content.h"
#include "flow/traces/traces.h"
#include "flow/traces/usage.h"

namespace tidemill::traces {
namespace {

constexpr std::int64_t kNanosecondsPerMillisecond = 1'000'000;
constexpr std::size_t kSpanIdDigits = 16;

constexpr sql::Query kFind{"traces.find", "SELECT n, experiment FROM traces WHERE id = ?1"};
constexpr sql::Query kPutSpan{
    "traces.put_span",
    "INSERT INTO trace_spans (trace, experiment, id, parent, name, type, status, start_ns, end_ns, model, provider,"
    " input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_creation_tokens, input_cost, output_cost,"
    " total_cost, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, nullif(?10, ''), nullif(?11, ''), ?12, ?13, ?14,"
    " ?15, ?16, ?17, ?18, ?19, ?20)"
    " ON CONFLICT (trace, id) DO UPDATE SET parent = excluded.parent, name = excluded.name, type = excluded.type,"
    " status = excluded.status, start_ns = excluded.start_ns, end_ns = excluded.end_ns, model = excluded.model,"
    " provider = excluded.provider, input_tokens = excluded.input_tokens, output_tokens = excluded.output_tokens,"
    " total_tokens = excluded.total_tokens, cache_read_tokens = excluded.cache_read_tokens,"
    " cache_creation_tokens = excluded.cache_creation_tokens, input_cost = excluded.input_cost,"
    " output_cost = excluded.output_cost, total_cost = excluded.total_cost, content = excluded.content"};
// The trace reaches from its first span to its last, unless it was told otherwise; its state is that of its root.
constexpr sql::Query kWiden{
    "traces.widen",
    "UPDATE traces SET"
    " duration_ms = iif(started, duration_ms, max(coalesce(at_ms + duration_ms, ?3), ?3) - min(at_ms, ?2)),"
    " at_ms = iif(started, at_ms, min(at_ms, ?2)),"
    " state = iif(state IN ('in_progress', 'state_unspecified'), coalesce(?4, state), state),"
    " spans = (SELECT count(*) FROM trace_spans WHERE trace = ?1) WHERE n = ?1"};
constexpr sql::Query kHint{"traces.hint",
                           "UPDATE traces SET name = iif(started, name, coalesce(?2, name)), request_preview ="
                           " coalesce(request_preview, ?3), response_preview = coalesce(response_preview, ?4)"
                           " WHERE n = ?1"};
constexpr sql::Query kUsageNodes{"traces.usage_nodes",
                                 "SELECT id, parent, input_tokens, output_tokens, total_tokens, cache_read_tokens, "
                                 "cache_creation_tokens, input_cost,"
                                 " output_cost, total_cost FROM trace_spans WHERE trace = ?1"};
constexpr sql::Query kSetUsage{
    "traces.set_usage",
    "UPDATE traces SET input_tokens = iif(own_tokens, input_tokens, ?2), output_tokens = iif(own_tokens, output_tokens,"
    " ?3), total_tokens = iif(own_tokens, total_tokens, ?4), cache_read_tokens = iif(own_tokens, cache_read_tokens,"
    " ?5), cache_creation_tokens = iif(own_tokens, cache_creation_tokens, ?6), input_cost = iif(own_costs, input_cost,"
    " ?7), output_cost = iif(own_costs, output_cost, ?8), total_cost = iif(own_costs, total_cost, ?9) WHERE n = ?1"};
constexpr sql::Query kLinkRun{
    "traces.link_of_spans",
    "INSERT INTO trace_links (trace, kind, target) VALUES (?1, 'run', ?2) ON CONFLICT DO NOTHING"};
constexpr sql::Query kSpans{
    "traces.spans",
    "SELECT id, parent, name, type, status, start_ns, end_ns, model, provider, input_tokens, output_tokens,"
    " total_tokens, cache_read_tokens, cache_creation_tokens, input_cost, output_cost, total_cost, content"
    " FROM trace_spans WHERE trace = ?1 ORDER BY parent <> '', start_ns, n"};

Usage read_usage(const sql::Row& row, int from) {
  return {row.maybe_integer(from),     row.maybe_integer(from + 1), row.maybe_integer(from + 2),
          row.maybe_integer(from + 3), row.maybe_integer(from + 4), row.maybe_real(from + 5),
          row.maybe_real(from + 6),    row.maybe_real(from + 7)};
}

Result<Span> read_span(const sql::Row& row) {
  Span span;
  span.id = row.string(0);
  span.parent = row.string(1);
  span.name = row.string(2);
  span.type = row.string(3);
  span.status = row.enumerator<SpanStatus>(4);
  span.start_ns = row.integer(5);
  span.end_ns = row.maybe_integer(6);
  span.model = row.string(7);
  span.provider = row.string(8);
  span.usage = read_usage(row, 9);
  TM_CHECK(read_content(row.text(17), span));
  return span;
}

bool is_span_id(std::string_view text) {
  return text.size() == kSpanIdDigits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<void> check_span(const Span& span, const Limits& limits) {
  if (!is_span_id(span.id) || (!span.parent.empty() && !is_span_id(span.parent))) {
    return invalid(fmt::format("A span of trace {} has the id '{}' and the parent '{}'.", span.trace.str(),
                               span.id.substr(0, 64), span.parent.substr(0, 64)),
                   "Ids of spans are 8 bytes.");
  }
  if (span.start_ns < 0 || (span.end_ns && *span.end_ns < span.start_ns)) {
    return invalid(
        fmt::format("The span {} of trace {} ends before it begins, or begins before 1970.", span.id, span.trace.str()),
        "Mend its times.");
  }
  TM_CHECK(check_nesting(span.attributes, limits.nesting_max));
  for (const SpanEvent& event : span.events) TM_CHECK(check_nesting(event.attributes, limits.nesting_max));
  for (const SpanLink& link : span.links) TM_CHECK(check_nesting(link.attributes, limits.nesting_max));
  return {};
}

// What the spans of one trace in one batch say together.
struct Extent {
  std::int64_t at_ms = std::numeric_limits<std::int64_t>::max();
  std::optional<std::int64_t> end_ms;
  std::optional<State> state;  // of the root, when it is among them
};

Extent extent_of(const std::vector<const Span*>& spans) {
  Extent extent;
  for (const Span* span : spans) {
    extent.at_ms = std::min(extent.at_ms, span->start_ns / kNanosecondsPerMillisecond);
    if (span->end_ns) {
      const std::int64_t end_ms = *span->end_ns / kNanosecondsPerMillisecond;
      extent.end_ms = std::max(extent.end_ms.value_or(end_ms), end_ms);
    }
    if (span->parent.empty()) extent.state = span->status == SpanStatus::error ? State::error : State::ok;
  }
  return extent;
}

}  // namespace

Result<void> Traces::check_batch(const SpanBatch& batch) const {
  if (static_cast<std::int64_t>(batch.spans.size()) > limits_.batch_spans_max) {
    return fail(Code::kTooLarge, "traces.too_many_spans",
                fmt::format("A request can log at most {} spans. Got {}.", limits_.batch_spans_max, batch.spans.size()),
                "Send fewer at once.");
  }
  for (const Span& span : batch.spans) TM_CHECK(check_span(span, limits_));
  return {};
}

Result<void> Traces::add_spans(sql::Tx& tx, const SpanBatch& batch) {
  TM_CHECK(check_batch(batch));
  if (batch.run) TM_CHECK(runs_.info(tx, *batch.run));
  std::unordered_map<std::string_view, std::vector<const Span*>> by_trace;
  std::vector<const TraceId*> order;
  for (const Span& span : batch.spans) {
    auto& spans = by_trace[span.trace.str()];
    if (spans.empty()) order.push_back(&span.trace);
    spans.push_back(&span);
  }
  std::unordered_map<std::string_view, Target> targets;
  for (const TraceId* id : order) {
    const auto& spans = by_trace[id->str()];
    const Target target = TM_TRY(from_spans(tx, batch, *id, spans));
    targets.emplace(id->str(), target);
    if (batch.run && std::ranges::any_of(spans, [](const Span* span) { return span->parent.empty(); })) {
      TM_CHECK(tx.exec(kLinkRun, target.n, *batch.run));
    }
  }
  for (const TraceHints& hints : batch.hints) {
    const auto target = targets.find(hints.trace.str());
    if (target != targets.end()) TM_CHECK(take_hints(tx, target->second, hints));
  }
  return {};
}

void Traces::add_spans_async(SpanBatch batch, std::function<void(Result<void>)> done) {
  database_.write_async([this, batch = std::move(batch)](sql::Tx& tx) { return add_spans(tx, batch); },
                        std::move(done));
}

Result<Traces::Target> Traces::from_spans(sql::Tx& tx, const SpanBatch& batch, const TraceId& id,
                                          const std::vector<const Span*>& spans) {
  const Extent extent = extent_of(spans);
  auto target = TM_TRY(tx.one<Target>(
      kFind,
      [](const sql::Row& row) {
        return Target{row.integer(0), row.integer(1)};
      },
      id));
  if (!target) {
    TM_CHECK(check_experiment(tx, batch.experiment));
    NewTrace trace;
    trace.id = id;
    trace.experiment = batch.experiment;
    trace.at_ms = extent.at_ms;
    trace.state = State::in_progress;
    target = TM_TRY(insert(tx, trace, false));
  }
  bool used = false;
  for (const Span* span : spans) {
    TM_CHECK(put_span(tx, *target, *span));
    used = used || span->usage.has_tokens() || span->usage.has_costs();
  }
  TM_CHECK(tx.exec(kWiden, target->n, extent.at_ms, extent.end_ms, extent.state));
  if (used) TM_CHECK(sum_usage(tx, *target));
  return *target;
}

Result<void> Traces::put_span(sql::Tx& tx, const Target& target, const Span& span) {
  const std::string content = content_of(span);
  if (static_cast<std::int64_t>(content.size()) > limits_.span_bytes_max) {
    return fail(Code::kTooLarge, "traces.span_too_large",
                fmt::format("The span {} of trace {} has {} bytes, more than {}.", span.id, span.trace.str(),
                            content.size(), limits_.span_bytes_max),
                "Log large values as artefacts.");
  }
  const Usage& usage = span.usage;
  TM_CHECK(tx.exec(
      kPutSpan, target.n, target.experiment, span.id, span.parent, cut(span.name, limits_.span_name_chars_max),
      span.type.empty() ? std::string("UNKNOWN") : cut(span.type, limits_.key_chars_max), span.status, span.start_ns,
      span.end_ns, cut(span.model, limits_.key_chars_max), cut(span.provider, limits_.key_chars_max),
      usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.cache_read_tokens, usage.cache_creation_tokens,
      usage.input_cost, usage.output_cost, usage.total_cost, content));
  return {};
}

Result<void> Traces::take_hints(sql::Tx& tx, const Target& target, const TraceHints& hints) {
  const auto cut_if = [](const std::optional<std::string>& text, std::int64_t chars_max) {
    return text ? std::optional(cut(*text, chars_max)) : std::nullopt;
  };
  TM_CHECK(tx.exec(kHint, target.n, cut_if(hints.name, limits_.tag_chars_max),
                   cut_if(hints.request_preview, limits_.preview_chars_max),
                   cut_if(hints.response_preview, limits_.preview_chars_max)));
  TM_CHECK(set_values(tx, target, Kind::tag, hints.tags));
  return set_values(tx, target, Kind::metadata, hints.metadata, false);
}

Result<void> Traces::sum_usage(sql::Tx& tx, const Target& target) {
  std::vector<UsageNode> nodes = TM_TRY(tx.all<UsageNode>(
      kUsageNodes,
      [](const sql::Row& row) {
        return UsageNode{row.string(0), row.string(1), read_usage(row, 2)};
      },
      target.n));
  const Usage sum = traces::sum_usage(nodes);
  TM_CHECK(tx.exec(kSetUsage, target.n, sum.input_tokens, sum.output_tokens, sum.total_tokens, sum.cache_read_tokens,
                   sum.cache_creation_tokens, sum.input_cost, sum.output_cost, sum.total_cost));
  return {};
}

Result<std::vector<Span>> Traces::spans(sql::Tx& tx, const TraceId& id) {
  const Target target = TM_TRY(existing(tx, id));
  std::vector<Span> spans;
  TM_CHECK(tx.each(
      kSpans,
      [&](const sql::Row& row) -> Result<void> {
        if (static_cast<std::int64_t>(spans.size()) >= limits_.trace_spans_max) {
          return fail(Code::kTooLarge, "traces.too_many_spans",
                      fmt::format("The trace {} has more than {} spans.", id.str(), limits_.trace_spans_max),
                      "Search its spans by name.");
        }
        spans.push_back(TM_TRY(read_span(row)));
        spans.back().trace = id;
        return {};
      },
      target.n));
  return spans;
}

}  // namespace tidemill::traces
