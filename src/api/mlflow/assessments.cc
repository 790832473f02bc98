// Feedback and expectations: what people and judges say of traces.
#include <fmt/format.h>

#include <algorithm>

#include "api/mlflow/traces.h"
#include "base/clock.h"

namespace tidemill::mlflow {
namespace {

struct Said {
  traces::AssessmentKind kind = traces::AssessmentKind::feedback;
  json::Value value;
  std::optional<traces::AssessmentError> error;
};

Result<json::Value> expected_value(const Fields& expectation) {
  if (const json::Value* value = expectation.find("value")) return *value;
  const Fields serialized = TM_TRY(expectation.object("serialized_value"));
  const std::string format = TM_TRY(serialized.text("serialization_format"));
  if (!format.empty() && format != "JSON_FORMAT") {
    return invalid_value("serialization_format", json::Value(format), "JSON_FORMAT");
  }
  const std::string text = TM_TRY(serialized.text("value"));
  return text.empty() ? Result<json::Value>(nullptr) : json::parse(text);
}

// What is said, or nothing when no kind of it is there.
Result<std::optional<Said>> said_in(const Fields& fields) {
  Said said;
  if (fields.has("expectation")) {
    said.kind = traces::AssessmentKind::expectation;
    said.value = TM_TRY(expected_value(TM_TRY(fields.object("expectation"))));
    return std::optional(std::move(said));
  }
  if (fields.has("issue")) {
    said.kind = traces::AssessmentKind::issue;
    said.value = json::Value(TM_TRY(TM_TRY(fields.object("issue")).text("issue_name")));
    return std::optional(std::move(said));
  }
  if (!fields.has("feedback")) return std::optional<Said>();
  const Fields feedback = TM_TRY(fields.object("feedback"));
  if (const json::Value* value = feedback.find("value")) said.value = *value;
  if (feedback.has("error")) {
    const Fields error = TM_TRY(feedback.object("error"));
    said.error = traces::AssessmentError{TM_TRY(error.text("error_code")), TM_TRY(error.text("error_message")),
                                         TM_TRY(error.text("stack_trace"))};
  }
  return std::optional(std::move(said));
}

Result<std::vector<runs::KeyValue>> metadata_of(const Fields& fields) {
  std::vector<runs::KeyValue> metadata;
  for (auto& [key, value] : TM_TRY(fields.text_pairs("metadata"))) metadata.push_back({key, value});
  std::ranges::sort(metadata, {}, &runs::KeyValue::key);
  return metadata;
}

Result<std::int64_t> time_of(const Fields& fields, std::string_view name, std::int64_t fallback_ms) {
  const std::string text = TM_TRY(fields.text(name));
  return text.empty() ? Result<std::int64_t>(fallback_ms) : parse_utc(text);
}

// Which fields a change names: "a,b", or a list; in snake_case or camelCase.
Result<bool> names(const Fields& fields, std::string_view name, std::string_view camel) {
  const json::Value* mask = fields.find("update_mask");
  if (mask == nullptr) return missing_value("update_mask");
  std::string text;
  if (const auto* one = mask->if_string()) {
    text = *one;
  } else if (const auto* object = mask->if_object()) {
    for (const std::string& path : TM_TRY(Fields(*object).texts("paths"))) text += path + ",";
  } else {
    return invalid_value("update_mask", *mask, "a list of fields");
  }
  const std::string padded = "," + text + ",";
  return padded.find(fmt::format(",{},", name)) != std::string::npos ||
         padded.find(fmt::format(",{},", camel)) != std::string::npos;
}

Result<traces::AssessmentChange> change_of(const Fields& body) {
  if (!body.has("assessment")) return missing_value("assessment");
  const Fields fields = TM_TRY(body.object("assessment"));
  traces::AssessmentChange change;
  if (TM_TRY(names(body, "assessment_name", "assessmentName"))) change.name = TM_TRY(fields.text("assessment_name"));
  if (TM_TRY(names(body, "rationale", "rationale"))) change.rationale = TM_TRY(fields.text("rationale"));
  if (TM_TRY(names(body, "metadata", "metadata"))) change.metadata = TM_TRY(metadata_of(fields));
  const bool says = TM_TRY(names(body, "feedback", "feedback")) || TM_TRY(names(body, "expectation", "expectation"));
  if (!says) return change;
  auto said = TM_TRY(said_in(fields));
  if (!said) return missing_value("feedback");
  change.kind = said->kind;
  change.value = std::move(said->value);
  change.error = std::move(said->error);
  return change;
}

Result<std::string> create(traces::Traces& traces, const Clock& clock, const Call& call) {
  if (!call.fields.has("assessment")) return missing_value("assessment");
  auto assessment = TM_TRY(assessment_of(TM_TRY(call.fields.object("assessment")), clock.now_ms()));
  assessment.trace = TM_TRY(trace_id(call.request.param("trace_id")));
  return wrapped(
      "assessment",
      TM_TRY(traces.database().write([&](sql::Tx& tx) { return traces.assess(tx, call.actor, assessment); })));
}

}  // namespace

Result<traces::Assessment> assessment_of(const Fields& fields, std::int64_t now_ms) {
  traces::Assessment assessment;
  assessment.id = traces::AssessmentId::trusted(TM_TRY(fields.text("assessment_id")).substr(0, 64));
  assessment.name = TM_TRY(fields.required("assessment_name"));
  auto said = TM_TRY(said_in(fields));
  if (!said) {
    return fail(Code::kInvalidArgument, "mlflow.no_assessment",
                "Exactly one of `expectation`, `feedback` or `issue` should be specified.", "Send one of them.");
  }
  assessment.kind = said->kind;
  assessment.value = std::move(said->value);
  assessment.error = std::move(said->error);
  const Fields source = TM_TRY(fields.object("source"));
  assessment.source_type = TM_TRY(source.text("source_type"));
  assessment.source_id = TM_TRY(source.text("source_id"));
  if (assessment.source_type.empty()) assessment.source_type = "CODE";
  assessment.span = TM_TRY(fields.text("span_id"));
  assessment.rationale = TM_TRY(fields.text("rationale"));
  assessment.metadata = TM_TRY(metadata_of(fields));
  assessment.overrides = TM_TRY(fields.text("overrides"));
  assessment.valid = TM_TRY(fields.maybe_boolean("valid")).value_or(true);
  assessment.made_ms = TM_TRY(time_of(fields, "create_time", now_ms));
  assessment.updated_ms = TM_TRY(time_of(fields, "last_update_time", now_ms));
  return assessment;
}

void add_assessments(Endpoints& endpoints, traces::Traces& traces, const Clock& clock) {
  const std::string_view one = "/mlflow/traces/{trace_id}/assessments/{assessment_id}";
  using traces::AssessmentId;
  endpoints.add(Method::post, "/mlflow/traces/{trace_id}/assessments", Right::write, "Assess a trace",
                [&traces, &clock](const Call& call) { return create(traces, clock, call); });
  endpoints.add(Method::get, one, Right::read, "Get an assessment", [&traces](const Call& call) -> Result<std::string> {
    const auto trace = TM_TRY(trace_id(call.request.param("trace_id")));
    const auto id = AssessmentId::trusted(call.request.param("assessment_id"));
    return wrapped("assessment",
                   TM_TRY(traces.database().read([&](sql::Tx& tx) { return traces.assessment(tx, trace, id); })));
  });
  endpoints.add(Method::patch, one, Right::write, "Change an assessment",
                [&traces](const Call& call) -> Result<std::string> {
                  const auto trace = TM_TRY(trace_id(call.request.param("trace_id")));
                  const auto id = AssessmentId::trusted(call.request.param("assessment_id"));
                  const auto change = TM_TRY(change_of(call.fields));
                  return wrapped("assessment", TM_TRY(traces.database().write([&](sql::Tx& tx) {
                                   return traces.change_assessment(tx, call.actor, trace, id, change);
                                 })));
                });
  endpoints.add(
      Method::del, one, Right::write, "Delete an assessment", [&traces](const Call& call) -> Result<std::string> {
        const auto trace = TM_TRY(trace_id(call.request.param("trace_id")));
        const auto id = AssessmentId::trusted(call.request.param("assessment_id"));
        TM_CHECK(
            traces.database().write([&](sql::Tx& tx) { return traces.delete_assessment(tx, call.actor, trace, id); }));
        return std::string(kNothing);
      });
}

}  // namespace tidemill::mlflow
