// How traces, spans and assessments are spelled.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "api/mlflow/traces.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/hash.h"

namespace tidemill::mlflow {
namespace {

std::string state_name(traces::State state) {
  switch (state) {
    case traces::State::ok:
      return "OK";
    case traces::State::error:
      return "ERROR";
    case traces::State::in_progress:
      return "IN_PROGRESS";
    case traces::State::state_unspecified:
      break;
  }
  return "STATE_UNSPECIFIED";
}

std::string_view status_name(traces::SpanStatus status) {
  switch (status) {
    case traces::SpanStatus::ok:
      return "STATUS_CODE_OK";
    case traces::SpanStatus::error:
      return "STATUS_CODE_ERROR";
    case traces::SpanStatus::unset:
      break;
  }
  return "STATUS_CODE_UNSET";
}

// "1.5s", as Protobuf writes a duration.
std::string duration_text(std::int64_t ms) { return fmt::format("{}.{:03}s", ms / 1000, ms % 1000); }

// Ids are kept as hex; Protobuf's JSON has bytes in base64.
std::string base64_of_hex(std::string_view hex) { return encode_base64(from_hex(hex).value_or("")); }

std::string_view hex_of(std::string_view trace_id) { return trace_id.starts_with("tr-") ? trace_id.substr(3) : ""; }

using Values = std::map<std::string, std::string, std::less<>>;

void write_values(JsonText& json, std::string_view name, const Values& values) {
  json.key(name).begin_object();
  for (const auto& [key, value] : values) json.text(key, value);
  json.end_object();
}

Values values_of(const std::vector<runs::KeyValue>& pairs) {
  Values values;
  for (const auto& [key, value] : pairs) values.emplace(key, value);
  return values;
}

// Tokens and costs as clients read them from a trace's metadata.
void add_usage(Values& metadata, const traces::Usage& usage) {
  if (usage.has_tokens() && !metadata.contains(kTokensKey)) {
    JsonText json;
    json.begin_object();
    json.integer_if("input_tokens", usage.input_tokens).integer_if("output_tokens", usage.output_tokens);
    json.integer_if("total_tokens", usage.total_tokens);
    json.integer_if("cache_read_input_tokens", usage.cache_read_tokens);
    json.integer_if("cache_creation_input_tokens", usage.cache_creation_tokens).end_object();
    metadata.emplace(kTokensKey, json.take());
  }
  if (usage.has_costs() && !metadata.contains(kCostsKey)) {
    JsonText json;
    json.begin_object();
    json.key("input_cost").number(usage.input_cost.value_or(0));
    json.key("output_cost").number(usage.output_cost.value_or(0));
    json.key("total_cost").number(usage.total_cost.value_or(0)).end_object();
    metadata.emplace(kCostsKey, json.take());
  }
}

void write_any(JsonText& json, const json::Value& value);

void write_attributes(JsonText& json, std::string_view name, const json::Object& attributes) {
  json.key(name).begin_array();
  for (const auto& entry : attributes) {
    json.begin_object().text("key", entry.key()).key("value");
    write_any(json, entry.value());
    json.end_object();
  }
  json.end_array();
}

// AnyValue
void write_any(JsonText& json, const json::Value& value) {
  json.begin_object();
  if (const bool* flag = value.if_bool()) json.boolean("bool_value", *flag);
  if (const auto* number = value.if_int64()) json.integer("int_value", *number);
  if (const auto* number = value.if_uint64()) json.key("double_value").number(static_cast<double>(*number));
  if (const auto* number = value.if_double()) json.key("double_value").number(*number);
  if (const auto* text = value.if_string()) json.text("string_value", *text);
  if (const auto* array = value.if_array()) {
    json.key("array_value").begin_object().key("values").begin_array();
    for (const json::Value& item : *array) write_any(json, item);
    json.end_array().end_object();
  }
  if (const auto* object = value.if_object()) {
    json.key("kvlist_value").begin_object();
    write_attributes(json, "values", *object);
    json.end_object();
  }
  json.end_object();
}

}  // namespace

std::string artifact_folder(const traces::Trace& trace) {
  return fmt::format("{}/traces/{}/artifacts", trace.experiment.number(), trace.id.str());
}

Result<void> TraceWriter::write(JsonText& json, const traces::Trace& trace) {
  auto root = roots_.find(trace.experiment);
  if (root == roots_.end()) {
    root = roots_.emplace(trace.experiment, artifact_uri(TM_TRY(runs_.experiment(tx_, trace.experiment)))).first;
  }
  json.begin_object().text("trace_id", trace.id.str()).text_if("client_request_id", trace.client_request_id);
  json.key("trace_location").begin_object().text("type", "MLFLOW_EXPERIMENT");
  json.key("mlflow_experiment").begin_object().text("experiment_id", trace.experiment.str()).end_object().end_object();
  json.text("request_time", format_utc(trace.at_ms));
  if (trace.duration_ms) json.text("execution_duration", duration_text(*trace.duration_ms));
  json.text("state", state_name(trace.state));
  if (trace.request_preview) json.text("request_preview", *trace.request_preview);
  if (trace.response_preview) json.text("response_preview", *trace.response_preview);
  Values metadata = values_of(trace.metadata);
  add_usage(metadata, trace.usage);
  write_values(json, "trace_metadata", metadata);
  Values tags = values_of(trace.tags);
  if (trace.name) tags.emplace(kTraceNameTag, *trace.name);
  tags.emplace(kArtifactLocationTag, fmt::format("{}/traces/{}/artifacts", root->second, trace.id.str()));
  write_values(json, "tags", tags);
  json.key("assessments").begin_array();
  for (const traces::Assessment& assessment : trace.assessments) mlflow::write(json, assessment);
  json.end_array().end_object();
  return {};
}

Result<void> TraceWriter::write(JsonText& json, const traces::Trace& trace, const std::vector<traces::Span>& spans) {
  json.begin_object().key("trace_info");
  TM_CHECK(write(json, trace));
  json.key("spans").begin_array();
  for (const traces::Span& span : spans) write_otlp(json, span);
  json.end_array().end_object();
  return {};
}

void write_otlp(JsonText& json, const traces::Span& span) {
  json.begin_object();
  json.text("trace_id", base64_of_hex(hex_of(span.trace.str()))).text("span_id", base64_of_hex(span.id));
  if (!span.parent.empty()) json.text("parent_span_id", base64_of_hex(span.parent));
  json.text("name", span.name).integer("start_time_unix_nano", span.start_ns);
  json.integer_if("end_time_unix_nano", span.end_ns);
  write_attributes(json, "attributes", span.attributes);
  json.key("events").begin_array();
  for (const traces::SpanEvent& event : span.events) {
    json.begin_object().integer("time_unix_nano", event.at_ns).text("name", event.name);
    write_attributes(json, "attributes", event.attributes);
    json.end_object();
  }
  json.end_array().key("links").begin_array();
  for (const traces::SpanLink& link : span.links) {
    json.begin_object();
    json.text("trace_id", base64_of_hex(hex_of(link.trace))).text("span_id", base64_of_hex(link.span));
    write_attributes(json, "attributes", link.attributes);
    json.end_object();
  }
  json.end_array().key("status").begin_object();
  json.text_if("message", span.status_message).text("code", status_name(span.status)).end_object().end_object();
}

void write_stored(JsonText& json, const traces::Span& span) {
  json.begin_object();
  json.text("trace_id", base64_of_hex(hex_of(span.trace.str()))).text("span_id", base64_of_hex(span.id));
  json.key("parent_span_id");
  span.parent.empty() ? json.raw("null") : json.text(base64_of_hex(span.parent));
  json.text("name", span.name).integer("start_time_unix_nano", span.start_ns);
  json.key("end_time_unix_nano");
  span.end_ns ? json.integer(*span.end_ns) : json.raw("null");
  json.key("events").begin_array();
  for (const traces::SpanEvent& event : span.events) {
    json.begin_object().text("name", event.name).integer("time_unix_nano", event.at_ns);
    json.key("attributes").raw(json::serialize(event.attributes)).end_object();
  }
  json.end_array().key("status").begin_object();
  json.text("code", status_name(span.status)).text("message", span.status_message).end_object();
  json.key("attributes").begin_object();
  for (const auto& entry : span.attributes) json.text(entry.key(), json::serialize(entry.value()));
  json.end_object().key("links").begin_array();
  for (const traces::SpanLink& link : span.links) {
    json.begin_object().text("trace_id", link.trace).text("span_id", link.span);
    json.key("attributes").raw(json::serialize(link.attributes)).end_object();
  }
  json.end_array().end_object();
}

void write(JsonText& json, const traces::Assessment& assessment) {
  json.begin_object().text("assessment_id", assessment.id.str()).text("assessment_name", assessment.name);
  json.text("trace_id", assessment.trace.str()).text_if("span_id", assessment.span);
  json.key("source").begin_object().text("source_type", assessment.source_type);
  json.text("source_id", assessment.source_id).end_object();
  json.text("create_time", format_utc(assessment.made_ms)).text("last_update_time", format_utc(assessment.updated_ms));
  const json::Value& value = assessment.value;
  json.key(enum_name(assessment.kind)).begin_object();
  if (assessment.kind == traces::AssessmentKind::issue) {
    json.key("issue_name").raw(json::serialize(value));
  } else if (assessment.kind == traces::AssessmentKind::expectation && (value.is_structured() || value.is_null())) {
    json.key("serialized_value").begin_object().text("serialization_format", "JSON_FORMAT");
    json.text("value", json::serialize(value)).end_object();
  } else {
    json.key("value").raw(json::serialize(value));
  }
  if (assessment.error) {
    json.key("error").begin_object().text("error_code", assessment.error->code);
    json.text_if("error_message", assessment.error->message).text_if("stack_trace", assessment.error->stack);
    json.end_object();
  }
  json.end_object().text_if("rationale", assessment.rationale);
  write_values(json, "metadata", values_of(assessment.metadata));
  json.text_if("overrides", assessment.overrides).boolean("valid", assessment.valid).end_object();
}

}  // namespace tidemill::mlflow
