// Traces as a whole: their beginning, tags, links and end. Spans are in spans.cc.
#include "flow/traces/traces.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "flow/traces/checks.h"
#include "flow/traces/events.h"
#include "flow/traces/schema.sql.h"

namespace tidemill::traces {
namespace {

constexpr std::size_t kKeysKeptMax = 10'000;
constexpr std::int64_t kRemovedAtOnceMax = 500;  // so that others may write in between

constexpr sql::Query kFind{"traces.find", "SELECT n, experiment FROM traces WHERE id = ?1"};
constexpr sql::Query kGet{
    "traces.get",
    "SELECT id, experiment, client_request_id, at_ms, duration_ms, state, name, run, request_preview, response_preview,"
    " spans, input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_creation_tokens, input_cost,"
    " output_cost, total_cost FROM traces WHERE n = ?1"};
constexpr sql::Query kAdd{
    "traces.add",
    "INSERT INTO traces (id, experiment, client_request_id, at_ms, duration_ms, state, name, run, request_preview,"
    " response_preview, started, own_tokens, own_costs, input_tokens, output_tokens, total_tokens, cache_read_tokens,"
    " cache_creation_tokens, input_cost, output_cost, total_cost, spans)"
    " VALUES (?1, ?2, nullif(?3, ''), ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,"
    " ?21, 0)"};
// What the spans had told is overwritten by what is told here; what is not told stays.
constexpr sql::Query kRestart{
    "traces.restart",
    "UPDATE traces SET experiment = ?2, client_request_id = nullif(?3, ''), at_ms = ?4, duration_ms = ?5, state = ?6,"
    " name = coalesce(?7, name), run = coalesce(?8, run), request_preview = coalesce(?9, request_preview),"
    " response_preview = coalesce(?10, response_preview), started = 1 WHERE n = ?1"};
constexpr sql::Query kSetTokens{
    "traces.set_tokens",
    "UPDATE traces SET own_tokens = 1, input_tokens = ?2, output_tokens = ?3, total_tokens = ?4, cache_read_tokens ="
    " ?5, cache_creation_tokens = ?6 WHERE n = ?1"};
constexpr sql::Query kSetCosts{
    "traces.set_costs",
    "UPDATE traces SET own_costs = 1, input_cost = ?2, output_cost = ?3, total_cost = ?4 WHERE n = ?1"};
constexpr sql::Query kMoveValues{"traces.move_values", "UPDATE trace_values SET experiment = ?2 WHERE trace = ?1"};
constexpr sql::Query kMoveSpans{"traces.move_spans", "UPDATE trace_spans SET experiment = ?2 WHERE trace = ?1"};
constexpr sql::Query kMoveAssessments{"traces.move_assessments",
                                      "UPDATE trace_assessments SET experiment = ?2 WHERE trace = ?1"};
constexpr sql::Query kValues{"traces.values",
                             "SELECT k.kind, k.key, v.value FROM trace_values v JOIN trace_keys k ON k.id = v.key"
                             " WHERE v.trace = ?1"};
constexpr sql::Query kSetValue{"traces.set_value",
                               "INSERT INTO trace_values (trace, key, experiment, value) VALUES (?1, ?2, ?3, ?4)"
                               " ON CONFLICT (trace, key) DO UPDATE SET value = excluded.value"};
constexpr sql::Query kAddValue{"traces.add_value",
                               "INSERT INTO trace_values (trace, key, experiment, value) VALUES (?1, ?2, ?3, ?4)"
                               " ON CONFLICT (trace, key) DO NOTHING"};
constexpr sql::Query kDeleteTag{"traces.delete_tag",
                                "DELETE FROM trace_values WHERE trace = ?1 AND key ="
                                " (SELECT id FROM trace_keys WHERE kind = 'tag' AND key = ?2)"};
constexpr sql::Query kSetName{"traces.set_name", "UPDATE traces SET name = ?2 WHERE n = ?1 AND name IS NOT ?2"};
constexpr sql::Query kFindKey{"traces.find_key", "SELECT id FROM trace_keys WHERE kind = ?1 AND key = ?2"};
constexpr sql::Query kAddKey{"traces.add_key", "INSERT INTO trace_keys (kind, key) VALUES (?1, ?2)"};
constexpr sql::Query kLink{"traces.link",
                           "INSERT INTO trace_links (trace, kind, target) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"};
constexpr sql::Query kOldest{"traces.oldest",
                             "SELECT n, id FROM traces WHERE experiment = ?1 AND at_ms <= ?2 ORDER BY at_ms, id"
                             " LIMIT ?3"};
constexpr sql::Query kFindIn{"traces.find_in",
                             "SELECT n, id FROM traces WHERE id = ?1 AND experiment = ?2 AND"
                             " (?3 IS NULL OR at_ms <= ?3)"};
constexpr sql::Query kDelete{"traces.delete", "DELETE FROM traces WHERE n = ?1"};
constexpr sql::Query kDeleteValues{"traces.delete_values", "DELETE FROM trace_values WHERE trace = ?1"};
constexpr sql::Query kDeleteSpans{"traces.delete_spans", "DELETE FROM trace_spans WHERE trace = ?1"};
constexpr sql::Query kDeleteLinks{"traces.delete_links", "DELETE FROM trace_links WHERE trace = ?1"};
constexpr sql::Query kDeleteAssessments{"traces.delete_assessments", "DELETE FROM trace_assessments WHERE trace = ?1"};

// One of the traces to be deleted.
struct Found {
  std::int64_t n = 0;
  TraceId id;
};

Found read_found(const sql::Row& row) { return {row.integer(0), TraceId::trusted(row.string(1))}; }

Trace read_trace(const sql::Row& row) {
  Trace trace;
  trace.id = TraceId::trusted(row.string(0));
  trace.experiment = ExperimentId(row.integer(1));
  trace.client_request_id = row.string(2);
  trace.at_ms = row.integer(3);
  trace.duration_ms = row.maybe_integer(4);
  trace.state = row.enumerator<State>(5);
  trace.name = row.maybe_string(6);
  if (!row.is_null(7)) trace.run = row.id<RunId>(7);
  trace.request_preview = row.maybe_string(8);
  trace.response_preview = row.maybe_string(9);
  trace.spans = row.integer(10);
  trace.usage = {row.maybe_integer(11), row.maybe_integer(12), row.maybe_integer(13), row.maybe_integer(14),
                 row.maybe_integer(15), row.maybe_real(16),    row.maybe_real(17),    row.maybe_real(18)};
  return trace;
}

std::optional<std::string> cut_if(const std::optional<std::string>& text, std::int64_t chars_max) {
  return text ? std::optional(cut(*text, chars_max)) : std::nullopt;
}

}  // namespace

Result<std::unique_ptr<Traces>> Traces::create(sql::Database& database, events::Events& events, runs::Runs& runs,
                                               const Clock& clock, Limits limits) {
  TM_CHECK(database.migrate("traces", kSchemaSql));
  return std::unique_ptr<Traces>(new Traces(database, events, runs, clock, limits));
}

Traces::~Traces() {
  // Writes run in the order in which they were queued, so when an empty one is done the others are.
  [[maybe_unused]] const auto done = database_.write([](sql::Tx&) -> Result<void> { return {}; });
}

Result<Traces::Target> Traces::existing(sql::Tx& tx, const TraceId& id) {
  const auto found = TM_TRY(tx.one<Target>(
      kFind,
      [](const sql::Row& row) {
        return Target{row.integer(0), row.integer(1)};
      },
      id));
  if (!found) return unknown_trace(id);
  return *found;
}

Result<void> Traces::check_experiment(sql::Tx& tx, ExperimentId id) {
  const auto experiment = TM_TRY(runs_.experiment(tx, id));
  if (experiment.lifecycle == runs::Lifecycle::active) return {};
  return fail(Code::kInvalidArgument, "experiments.deleted",
              fmt::format("The experiment {} must be in the 'active' state: it is deleted.", id.str()),
              "Restore it first.", {{"experiment", id.str()}});
}

Result<Trace> Traces::start(sql::Tx& tx, const NewTrace& trace) {
  TM_CHECK(check_experiment(tx, trace.experiment));
  if (static_cast<std::int64_t>(trace.assessments.size()) > limits_.assessments_max) {
    return invalid(
        fmt::format("A trace has at most {} assessments. Got {}.", limits_.assessments_max, trace.assessments.size()),
        "Send fewer.");
  }
  if (trace.duration_ms && *trace.duration_ms < 0) return invalid("A trace cannot end before it began.", "Mend it.");
  auto target = TM_TRY(tx.one<Target>(
      kFind,
      [](const sql::Row& row) {
        return Target{row.integer(0), row.integer(1)};
      },
      trace.id));
  if (target) {
    TM_CHECK(restart(tx, *target, trace));
    target->experiment = trace.experiment.number();
  } else {
    target = TM_TRY(insert(tx, trace, true));
  }
  TM_CHECK(set_values(tx, *target, Kind::tag, trace.tags));
  TM_CHECK(set_values(tx, *target, Kind::metadata, trace.metadata));
  if (trace.run) TM_CHECK(tx.exec(kLink, target->n, "run", *trace.run));
  for (Assessment assessment : trace.assessments) {
    assessment.trace = trace.id;
    if (assessment.id.str().empty()) assessment.id = AssessmentId::generate();
    TM_CHECK(insert_assessment(tx, *target, assessment));
  }
  return read(tx, target->n);
}

Result<Traces::Target> Traces::insert(sql::Tx& tx, const NewTrace& trace, bool started) {
  const Usage& usage = trace.usage;
  TM_CHECK(tx.exec(kAdd, trace.id, trace.experiment.number(), cut(trace.client_request_id, limits_.key_chars_max),
                   trace.at_ms, trace.duration_ms, trace.state, cut_if(trace.name, limits_.tag_chars_max), trace.run,
                   cut_if(trace.request_preview, limits_.preview_chars_max),
                   cut_if(trace.response_preview, limits_.preview_chars_max), started, usage.has_tokens(),
                   usage.has_costs(), usage.input_tokens, usage.output_tokens, usage.total_tokens,
                   usage.cache_read_tokens, usage.cache_creation_tokens, usage.input_cost, usage.output_cost,
                   usage.total_cost));
  return Target{tx.last_row_id(), trace.experiment.number()};
}

Result<void> Traces::restart(sql::Tx& tx, const Target& target, const NewTrace& trace) {
  TM_CHECK(tx.exec(kRestart, target.n, trace.experiment.number(), cut(trace.client_request_id, limits_.key_chars_max),
                   trace.at_ms, trace.duration_ms, trace.state, cut_if(trace.name, limits_.tag_chars_max), trace.run,
                   cut_if(trace.request_preview, limits_.preview_chars_max),
                   cut_if(trace.response_preview, limits_.preview_chars_max)));
  const Usage& usage = trace.usage;
  if (usage.has_tokens()) {
    TM_CHECK(tx.exec(kSetTokens, target.n, usage.input_tokens, usage.output_tokens, usage.total_tokens,
                     usage.cache_read_tokens, usage.cache_creation_tokens));
  }
  if (usage.has_costs()) {
    TM_CHECK(tx.exec(kSetCosts, target.n, usage.input_cost, usage.output_cost, usage.total_cost));
  }
  if (target.experiment == trace.experiment.number()) return {};
  for (const sql::Query* move : {&kMoveValues, &kMoveSpans, &kMoveAssessments}) {
    TM_CHECK(tx.exec(*move, target.n, trace.experiment.number()));
  }
  return {};
}

Result<std::int64_t> Traces::key_id(sql::Tx& tx, Kind kind, std::string_view key) {
  const std::string_view word = kind == Kind::tag ? "tag" : "metadata";
  std::string name = fmt::format("{} {}", word, key);
  {
    const std::lock_guard lock(mutex_);
    if (const auto known = key_ids_.find(name); known != key_ids_.end()) return known->second;
  }
  std::int64_t id = TM_TRY(tx.integer(kFindKey, 0, word, key));
  if (id == 0) {
    TM_CHECK(tx.exec(kAddKey, word, key));
    id = tx.last_row_id();
  }
  // Only what has been committed may be remembered: a row of an undone transaction gives its number to another key.
  tx.after_commit([this, name = std::move(name), id] {
    const std::lock_guard lock(mutex_);
    if (key_ids_.size() < kKeysKeptMax) key_ids_.emplace(name, id);
  });
  return id;
}

Result<void> Traces::set_values(sql::Tx& tx, const Target& target, Kind kind, const std::vector<KeyValue>& pairs,
                                bool replace) {
  for (const auto& [key, value] : pairs) {
    TM_CHECK(check_key(key, limits_));
    TM_CHECK(tx.exec(replace ? kSetValue : kAddValue, target.n, TM_TRY(key_id(tx, kind, key)), target.experiment,
                     cut(value, limits_.tag_chars_max)));
  }
  return {};
}

Result<Trace> Traces::read(sql::Tx& tx, std::int64_t n) {
  auto found = TM_TRY(tx.one<Trace>(kGet, read_trace, n));
  if (!found) return unknown_trace({});
  Trace trace = *std::move(found);
  TM_CHECK(tx.each(
      kValues,
      [&](const sql::Row& row) {
        (row.text(0) == "tag" ? trace.tags : trace.metadata).push_back({row.string(1), row.string(2)});
      },
      n));
  std::ranges::sort(trace.tags, {}, &KeyValue::key);
  std::ranges::sort(trace.metadata, {}, &KeyValue::key);
  trace.assessments = TM_TRY(assessments(tx, n, trace.id));
  return trace;
}

Result<Trace> Traces::trace(sql::Tx& tx, const TraceId& id) { return read(tx, TM_TRY(existing(tx, id)).n); }

Result<void> Traces::tag(sql::Tx& tx, const TraceId& id, std::string_view key, std::optional<std::string_view> value) {
  const Target target = TM_TRY(existing(tx, id));
  if (value) return set_values(tx, target, Kind::tag, {{std::string(key), std::string(*value)}});
  if (TM_TRY(tx.exec(kDeleteTag, target.n, key)) > 0) return {};
  return fail(
      Code::kNotFound, "traces.no_tag",
      fmt::format("No trace tag with key '{}' for trace with ID '{}'.", cut(key, limits_.key_chars_max), id.str()),
      "Read its tags.", {{"trace", id.str()}});
}

Result<void> Traces::set_name(sql::Tx& tx, const TraceId& id, std::optional<std::string_view> name) {
  const Target target = TM_TRY(existing(tx, id));
  const auto kept = name ? std::optional(cut(*name, limits_.tag_chars_max)) : std::nullopt;
  if (TM_TRY(tx.exec(kSetName, target.n, kept)) > 0 || name) return {};
  return fail(Code::kNotFound, "traces.no_tag", fmt::format("The trace with ID '{}' has no name.", id.str()),
              "Read its tags.", {{"trace", id.str()}});
}

Result<void> Traces::link_run(sql::Tx& tx, const RunId& run, const std::vector<TraceId>& traces) {
  if (static_cast<std::int64_t>(traces.size()) > limits_.linked_max) {
    return invalid(fmt::format("Cannot link more than {} traces to a run in a single request. Provided {} traces.",
                               limits_.linked_max, traces.size()),
                   "Link them in several.");
  }
  TM_CHECK(runs_.info(tx, run));
  for (const TraceId& id : traces) {
    const std::int64_t n = TM_TRY(tx.integer(kFind, 0, id));
    if (n > 0) TM_CHECK(tx.exec(kLink, n, "run", run));
  }
  return {};
}

Result<void> Traces::link_prompts(sql::Tx& tx, const TraceId& id, const std::vector<PromptVersion>& prompts) {
  if (static_cast<std::int64_t>(prompts.size()) > limits_.linked_max) {
    return invalid(fmt::format("Cannot link more than {} prompts to a trace in a single request. Provided {}.",
                               limits_.linked_max, prompts.size()),
                   "Link them in several.");
  }
  const Target target = TM_TRY(existing(tx, id));
  for (const PromptVersion& prompt : prompts) {
    TM_CHECK(tx.exec(kLink, target.n, "prompt", fmt::format("{}/{}", prompt.name, prompt.version)));
  }
  return {};
}

namespace {

Result<std::vector<Found>> find_removed(sql::Tx& tx, const Removal& removal, std::size_t from, std::int64_t count) {
  if (removal.ids.empty()) {
    return tx.all<Found>(kOldest, read_found, removal.experiment.number(), removal.until_ms, count);
  }
  std::vector<Found> found;
  const std::size_t until = std::min(removal.ids.size(), from + static_cast<std::size_t>(kRemovedAtOnceMax));
  for (std::size_t i = from; i < until && static_cast<std::int64_t>(found.size()) < count; ++i) {
    auto one =
        TM_TRY(tx.one<Found>(kFindIn, read_found, removal.ids[i], removal.experiment.number(), removal.until_ms));
    if (one) found.push_back(*std::move(one));
  }
  return found;
}

}  // namespace

Result<std::vector<TraceId>> Traces::remove(const access::Actor& actor, const Removal& removal) {
  if (!removal.until_ms && removal.ids.empty()) {
    return invalid("Either `max_timestamp_millis` or `trace_ids` must be specified.", "Say which traces shall go.");
  }
  if (removal.count_max && *removal.count_max < 1) {
    return invalid("`max_traces` must be a positive integer.", "Leave it out to delete all that fit.");
  }
  std::vector<TraceId> removed;
  for (std::size_t from = 0; removal.ids.empty() || from < removal.ids.size();
       from += static_cast<std::size_t>(kRemovedAtOnceMax)) {
    const std::int64_t left = removal.count_max.value_or(INT64_MAX) - static_cast<std::int64_t>(removed.size());
    const std::int64_t count = std::min(kRemovedAtOnceMax, left);
    if (count == 0) break;
    const auto gone = TM_TRY(database_.write([&](sql::Tx& tx) -> Result<std::vector<Found>> {
      auto found = TM_TRY(find_removed(tx, removal, from, count));
      Sha256 hash;
      for (const Found& one : found) {
        hash.update(one.id.str() + "\n");
        for (const sql::Query* query : {&kDelete, &kDeleteValues, &kDeleteSpans, &kDeleteLinks, &kDeleteAssessments}) {
          TM_CHECK(tx.exec(*query, one.n));
        }
      }
      if (found.empty()) return found;
      TM_CHECK(emit(tx, actor, events_of::kDeleted, "experiments/" + removal.experiment.str(),
                    {{"traces", found.size()}, {"digest", to_hex(hash.finish())}}));
      return found;
    }));
    for (const Found& one : gone) removed.push_back(one.id);
    if (removal.ids.empty() && static_cast<std::int64_t>(gone.size()) < count) break;
  }
  return removed;
}

Result<void> Traces::emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                          json::Object payload) {
  TM_CHECK(events_.append(tx, {std::string(kind), std::move(subject), actor.name, std::move(payload)}));
  return {};
}

}  // namespace tidemill::traces
