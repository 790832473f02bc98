// What people and judges say of traces.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "flow/traces/checks.h"
#include "flow/traces/events.h"
#include "flow/traces/traces.h"

namespace tidemill::traces {
namespace {

constexpr std::size_t kShownInEventBytesMax = 1'000;

constexpr sql::Query kAdd{
    "traces.add_assessment",
    "INSERT INTO trace_assessments (id, trace, experiment, kind, name, span, source_type, source_id, value, number,"
    " error, rationale, metadata, overrides, valid, made_ms, updated_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)"
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, value = excluded.value, number = excluded.number, error ="
    " excluded.error, rationale = excluded.rationale, metadata = excluded.metadata, updated_ms = excluded.updated_ms"
    " WHERE trace = excluded.trace"};
constexpr sql::Query kCount{"traces.count_assessments", "SELECT count(*) FROM trace_assessments WHERE trace = ?1"};
constexpr sql::Query kOfTrace{
    "traces.assessments",
    "SELECT id, kind, name, span, source_type, source_id, value, error, rationale, metadata, overrides, valid, made_ms,"
    " updated_ms FROM trace_assessments WHERE trace = ?1 ORDER BY n"};
constexpr sql::Query kOne{
    "traces.assessment",
    "SELECT id, kind, name, span, source_type, source_id, value, error, rationale, metadata, overrides, valid, made_ms,"
    " updated_ms FROM trace_assessments WHERE trace = ?1 AND id = ?2"};
constexpr sql::Query kSetValid{"traces.set_valid",
                               "UPDATE trace_assessments SET valid = ?3 WHERE trace = ?1 AND id = ?2"};
constexpr sql::Query kDelete{"traces.delete_assessment", "DELETE FROM trace_assessments WHERE trace = ?1 AND id = ?2"};

Result<Assessment> read_assessment(const sql::Row& row, const TraceId& trace) {
  Assessment assessment;
  assessment.id = AssessmentId::trusted(row.string(0));
  assessment.trace = trace;
  assessment.kind = row.enumerator<AssessmentKind>(1);
  assessment.name = row.string(2);
  assessment.span = row.string(3);
  assessment.source_type = row.string(4);
  assessment.source_id = row.string(5);
  assessment.value = TM_TRY(json::parse(row.text(6)));
  if (!row.is_null(7)) assessment.error = TM_TRY(json::decode<AssessmentError>(row.text(7)));
  assessment.rationale = row.string(8);
  assessment.metadata = TM_TRY(json::decode<std::vector<KeyValue>>(row.text(9)));
  assessment.overrides = row.string(10);
  assessment.valid = row.boolean(11);
  assessment.made_ms = row.integer(12);
  assessment.updated_ms = row.integer(13);
  return assessment;
}

// Numbers, and truth as 1 and 0, so that shares of "true" can be averaged. Words that mean it count too.
std::optional<double> number_of(const json::Value& value) {
  if (const bool* flag = value.if_bool()) return *flag ? 1.0 : 0.0;
  if (const double* number = value.if_double()) return *number;
  if (const std::int64_t* number = value.if_int64()) return static_cast<double>(*number);
  if (const std::uint64_t* number = value.if_uint64()) return static_cast<double>(*number);
  if (const auto* text = value.if_string()) {
    if (*text == "yes" || *text == "Yes" || *text == "YES") return 1.0;
    if (*text == "no" || *text == "No" || *text == "NO") return 0.0;
  }
  return std::nullopt;
}

std::string subject(const TraceId& id) { return "traces/" + id.str(); }

std::string shown(const json::Value& value) {
  std::string text = json::serialize(value);
  return text.size() <= kShownInEventBytesMax ? text : fmt::format("({} bytes)", text.size());
}

std::unexpected<Error> unknown(const TraceId& trace, const AssessmentId& id) {
  return fail(Code::kNotFound, "traces.unknown_assessment",
              fmt::format("Assessment with ID '{}' not found for trace '{}'.", id.str().substr(0, 64), trace.str()),
              "Read the assessments of the trace.", {{"trace", trace.str()}});
}

}  // namespace

Result<void> Traces::insert_assessment(sql::Tx& tx, const Target& target, const Assessment& assessment) {
  TM_CHECK(check_key(assessment.name, limits_));
  const std::string value = json::serialize(assessment.value);
  const auto error = assessment.error ? std::optional(json::encode(*assessment.error)) : std::nullopt;
  const std::string metadata = json::encode(assessment.metadata);
  const std::size_t bytes = value.size() + error.value_or("").size() + metadata.size() + assessment.rationale.size();
  if (static_cast<std::int64_t>(bytes) > limits_.assessment_bytes_max) {
    return fail(Code::kTooLarge, "traces.assessment_too_large",
                fmt::format("The assessment '{}' has {} bytes, more than {}.", assessment.name, bytes,
                            limits_.assessment_bytes_max),
                "Shorten it.");
  }
  const auto added =
      TM_TRY(tx.exec(kAdd, assessment.id, target.n, target.experiment, assessment.kind, assessment.name,
                     cut(assessment.span, limits_.key_chars_max), cut(assessment.source_type, limits_.key_chars_max),
                     cut(assessment.source_id, limits_.key_chars_max), value, number_of(assessment.value), error,
                     assessment.rationale, metadata, cut(assessment.overrides, limits_.key_chars_max), assessment.valid,
                     assessment.made_ms, assessment.updated_ms));
  if (added > 0) return {};
  return fail(Code::kAlreadyExists, "traces.assessment_exists",
              fmt::format("The assessment {} belongs to another trace.", assessment.id.str().substr(0, 64)),
              "Leave its id out.");
}

Result<std::vector<Assessment>> Traces::assessments(sql::Tx& tx, std::int64_t n, const TraceId& id) {
  std::vector<Assessment> all;
  TM_CHECK(tx.each(
      kOfTrace,
      [&](const sql::Row& row) -> Result<void> {
        all.push_back(TM_TRY(read_assessment(row, id)));
        return {};
      },
      n));
  return all;
}

Result<Assessment> Traces::assess(sql::Tx& tx, const access::Actor& actor, Assessment assessment) {
  const Target target = TM_TRY(existing(tx, assessment.trace));
  if (TM_TRY(tx.integer(kCount, 0, target.n)) >= limits_.assessments_max) {
    return fail(
        Code::kTooLarge, "traces.too_many_assessments",
        fmt::format("The trace {} has {} assessments already.", assessment.trace.str(), limits_.assessments_max),
        "Delete some.");
  }
  assessment.id = AssessmentId::generate();
  assessment.valid = true;
  if (!assessment.overrides.empty()) {
    const auto before = AssessmentId::trusted(assessment.overrides);
    if (TM_TRY(tx.exec(kSetValid, target.n, before, false)) == 0) return unknown(assessment.trace, before);
  }
  TM_CHECK(insert_assessment(tx, target, assessment));
  TM_CHECK(emit(tx, actor, events_of::kAssessed, subject(assessment.trace),
                {{"assessment", assessment.id.str()},
                 {"kind", enum_name(assessment.kind)},
                 {"name", assessment.name},
                 {"source", cut(assessment.source_type + ":" + assessment.source_id, limits_.key_chars_max)},
                 {"value", shown(assessment.value)}}));
  return assessment;
}

Result<Assessment> Traces::assessment(sql::Tx& tx, const TraceId& trace, const AssessmentId& id) {
  const Target target = TM_TRY(existing(tx, trace));
  auto found = TM_TRY(tx.one<Result<Assessment>>(
      kOne, [&](const sql::Row& row) { return read_assessment(row, trace); }, target.n, id));
  if (!found) return unknown(trace, id);
  return *std::move(found);
}

Result<Assessment> Traces::change_assessment(sql::Tx& tx, const access::Actor& actor, const TraceId& trace,
                                             const AssessmentId& id, const AssessmentChange& change) {
  const Target target = TM_TRY(existing(tx, trace));
  Assessment after = TM_TRY(assessment(tx, trace, id));
  if (change.kind && *change.kind != after.kind) {
    return invalid(fmt::format("The assessment {} is of the kind {}, not {}.", id.str(), enum_name(after.kind),
                               enum_name(*change.kind)),
                   "Log a new one.");
  }
  if (change.name) after.name = *change.name;
  if (change.value) {
    after.value = *change.value;
    after.error = change.error;
  }
  if (change.rationale) after.rationale = *change.rationale;
  for (const auto& [key, value] : change.metadata) {
    const auto known = std::ranges::find(after.metadata, key, &KeyValue::key);
    known != after.metadata.end() ? void(known->value = value) : after.metadata.push_back({key, value});
  }
  std::ranges::sort(after.metadata, {}, &KeyValue::key);
  after.updated_ms = clock_.now_ms();
  TM_CHECK(insert_assessment(tx, target, after));
  TM_CHECK(emit(tx, actor, events_of::kAssessmentChanged, subject(trace),
                {{"assessment", id.str()}, {"name", after.name}, {"value", shown(after.value)}}));
  return after;
}

Result<void> Traces::delete_assessment(sql::Tx& tx, const access::Actor& actor, const TraceId& trace,
                                       const AssessmentId& id) {
  const Target target = TM_TRY(existing(tx, trace));
  const auto found = TM_TRY(tx.one<Result<Assessment>>(
      kOne, [&](const sql::Row& row) { return read_assessment(row, trace); }, target.n, id));
  if (!found) return {};
  const Assessment gone = TM_TRY(*found);
  TM_CHECK(tx.exec(kDelete, target.n, id));
  if (!gone.overrides.empty()) TM_CHECK(tx.exec(kSetValid, target.n, gone.overrides, true));
  return emit(tx, actor, events_of::kAssessmentDeleted, subject(trace),
              {{"assessment", id.str()}, {"name", gone.name}});
}

}  // namespace tidemill::traces
