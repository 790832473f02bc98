// POST /v1/traces: spans as OpenTelemetry sends them, and what MLflow's clients put into their attributes.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "api/mlflow/otlp.h"
#include "api/mlflow/traces.h"
#include "base/hash.h"

namespace tidemill::mlflow {
namespace {

constexpr std::string_view kTagPrefix = "mlflow.traceTag.";
constexpr std::string_view kProtobuf = "application/x-protobuf";
constexpr std::string_view kJson = "application/json";
constexpr std::uint64_t kBodyBytesMax = 32u << 20;

// Attributes are values, but some exporters send all of MLflow's as JSON texts.
json::Value plain(const json::Value& value) {
  const auto* text = value.if_string();
  if (text == nullptr || text->empty()) return value;
  if (text->front() != '"' && text->front() != '{' && text->front() != '[') return value;
  auto parsed = json::parse(*text);
  return parsed ? *std::move(parsed) : value;
}

std::string text_of(const json::Value& value) {
  if (const auto* text = value.if_string()) return std::string(*text);
  return json::serialize(value);
}

std::optional<json::Value> attribute(const json::Object& attributes, std::string_view name) {
  const json::Value* value = attributes.if_contains(name);
  if (value == nullptr || value->is_null()) return std::nullopt;
  return plain(*value);
}

// Returns the first of several attributes that is there, as text.
std::string word_of(const json::Object& attributes, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) {
    if (const auto value = attribute(attributes, name)) return text_of(*value);
  }
  return "";
}

std::optional<std::int64_t> count_of(const json::Value* value) {
  if (value == nullptr) return std::nullopt;
  if (const auto* number = value->if_int64(); number != nullptr && *number >= 0) return *number;
  if (const auto* number = value->if_double(); number != nullptr && *number >= 0 && *number < 1e15) {
    return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<double> amount_of(const json::Value* value) {
  if (value == nullptr) return std::nullopt;
  if (const auto* number = value->if_double()) return *number;
  if (const auto* number = value->if_int64()) return static_cast<double>(*number);
  return std::nullopt;
}

// Tokens and costs as MLflow's clients note them, else tokens as OpenTelemetry's conventions for language models do.
traces::Usage usage_in(const json::Object& attributes) {
  traces::Usage usage;
  const auto tokens = attribute(attributes, "mlflow.chat.tokenUsage");
  const auto costs = attribute(attributes, "mlflow.llm.cost");
  usage = usage_of(tokens.value_or(nullptr), costs.value_or(nullptr));
  if (usage.has_tokens()) return usage;
  usage.input_tokens = count_of(attributes.if_contains("gen_ai.usage.input_tokens"));
  usage.output_tokens = count_of(attributes.if_contains("gen_ai.usage.output_tokens"));
  if (usage.input_tokens && usage.output_tokens && *usage.input_tokens <= INT64_MAX / 2 &&
      *usage.output_tokens <= INT64_MAX / 2) {
    usage.total_tokens = *usage.input_tokens + *usage.output_tokens;
  }
  return usage;
}

// Tags that the spans of a process carry: what describes it, but for OpenTelemetry's own and MLflow's bookkeeping.
std::vector<runs::KeyValue> tags_of(const json::Object& resource) {
  std::vector<runs::KeyValue> tags;
  for (const auto& entry : resource) {
    const std::string_view key = entry.key();
    if (key.starts_with("telemetry.sdk.") || key.starts_with("mlflow.")) continue;
    if (key.empty() || key.size() > kTagKeyBytesMax || entry.value().is_null()) continue;
    tags.push_back({std::string(key), text_of(entry.value())});
  }
  return tags;
}

// What the root span says of its trace.
void read_root(const json::Object& attributes, traces::TraceHints& hints) {
  for (const auto& entry : attributes) {
    const std::string_view key = entry.key();
    if (!key.starts_with(kTagPrefix) || key.size() == kTagPrefix.size()) continue;
    const std::string name(key.substr(kTagPrefix.size()));
    if (name.size() > kTagKeyBytesMax) continue;
    if (name == kTraceNameTag) {
      hints.name = text_of(plain(entry.value()));
    } else {
      hints.tags.push_back({name, text_of(plain(entry.value()))});
    }
  }
  if (const auto inputs = attribute(attributes, "mlflow.spanInputs")) hints.request_preview = text_of(*inputs);
  if (const auto outputs = attribute(attributes, "mlflow.spanOutputs")) hints.response_preview = text_of(*outputs);
}

void read_metadata(const json::Object& attributes, traces::TraceHints& hints) {
  const std::string session = word_of(attributes, {"session.id", "gen_ai.conversation.id"});
  if (!session.empty()) hints.metadata.push_back({std::string(kSessionKey), session});
  const std::string user = word_of(attributes, {"user.id"});
  if (!user.empty()) hints.metadata.push_back({std::string(kUserKey), user});
}

Result<std::int64_t> nanoseconds(std::uint64_t value) {
  if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
    return static_cast<std::int64_t>(value);
  }
  return otlp::malformed("a time is past the year 2262");
}

std::string trace_id_of(std::string_view bytes) { return "tr-" + to_hex(bytes); }

Result<traces::Span> span_of(otlp::Span&& in) {
  traces::Span span;
  span.trace = traces::TraceId::trusted(trace_id_of(in.trace_id));
  span.id = to_hex(in.span_id);
  span.parent = to_hex(in.parent_id);
  span.name = std::move(in.name);
  span.start_ns = TM_TRY(nanoseconds(in.start_ns));
  if (in.end_ns != 0) span.end_ns = TM_TRY(nanoseconds(in.end_ns));
  span.status = static_cast<traces::SpanStatus>(in.status);
  span.status_message = std::move(in.status_message);
  span.type = word_of(in.attributes, {"mlflow.spanType"});
  span.model = word_of(in.attributes, {"mlflow.llm.model", "gen_ai.response.model", "gen_ai.request.model"});
  span.provider = word_of(in.attributes, {"mlflow.llm.provider", "gen_ai.provider.name", "gen_ai.system"});
  span.usage = usage_in(in.attributes);
  for (otlp::Event& event : in.events) {
    span.events.push_back({std::move(event.name), TM_TRY(nanoseconds(event.at_ns)), std::move(event.attributes)});
  }
  for (otlp::Link& link : in.links) {
    span.links.push_back({trace_id_of(link.trace_id), to_hex(link.span_id), std::move(link.attributes)});
  }
  span.attributes = std::move(in.attributes);
  span.attributes[kRequestIdAttribute] = span.trace.str();  // clients refuse a span without it
  return span;
}

Result<traces::SpanBatch> batch_of(std::vector<otlp::ResourceSpans>&& parts) {
  traces::SpanBatch batch;
  for (otlp::ResourceSpans& part : parts) {
    const auto tags = tags_of(part.resource);
    for (otlp::Span& in : part.spans) {
      traces::Span span = TM_TRY(span_of(std::move(in)));
      traces::TraceHints hints{span.trace, {}, {}, {}, {}, {}};
      const bool is_new = batch.hints.empty() || batch.hints.back().trace != span.trace;
      if (is_new) {
        hints.tags = tags;
        hints.tags.push_back({std::string(kSpansLocationTag), "TRACKING_STORE"});
      }
      if (span.parent.empty()) {
        hints.name = span.name;
        read_root(span.attributes, hints);
      }
      read_metadata(span.attributes, hints);
      if (is_new || span.parent.empty() || !hints.metadata.empty()) batch.hints.push_back(std::move(hints));
      batch.spans.push_back(std::move(span));
    }
  }
  if (batch.spans.empty()) return otlp::malformed("no spans found");
  return batch;
}

std::string_view media_type(std::string_view content_type) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ')) content_type.remove_suffix(1);
  return content_type;
}

Result<traces::SpanBatch> read(const traces::Limits& limits, const http::Request& request) {
  const std::string_view type = media_type(request.headers.get("Content-Type").value_or(""));
  if (type != kProtobuf && type != kJson) {
    return otlp::malformed(
        fmt::format("the Content-Type '{}' is neither {} nor {}", type.substr(0, 64), kProtobuf, kJson));
  }
  const auto experiment = request.headers.get("x-mlflow-experiment-id");
  if (!experiment) return missing_value("x-mlflow-experiment-id");
  const std::string body =
      TM_TRY(otlp::unpack(request.body, request.headers.get("Content-Encoding").value_or(""), limits.batch_bytes_max));
  auto parts =
      type == kJson ? otlp::read_json(body, limits.nesting_max) : otlp::read_protobuf(body, limits.nesting_max);
  traces::SpanBatch batch = TM_TRY(batch_of(TM_TRY(std::move(parts))));
  batch.experiment = TM_TRY(experiment_id(std::string(*experiment)));
  const auto run = request.headers.get("x-mlflow-run-id");
  if (run && !run->empty()) batch.run = TM_TRY(run_id(std::string(*run)));
  return batch;
}

}  // namespace

traces::Usage usage_of(const json::Value& tokens, const json::Value& costs) {
  traces::Usage usage;
  if (const auto* object = tokens.if_object()) {
    usage.input_tokens = count_of(object->if_contains("input_tokens"));
    usage.output_tokens = count_of(object->if_contains("output_tokens"));
    usage.total_tokens = count_of(object->if_contains("total_tokens"));
    usage.cache_read_tokens = count_of(object->if_contains("cache_read_input_tokens"));
    usage.cache_creation_tokens = count_of(object->if_contains("cache_creation_input_tokens"));
  }
  if (const auto* object = costs.if_object()) {
    usage.input_cost = amount_of(object->if_contains("input_cost"));
    usage.output_cost = amount_of(object->if_contains("output_cost"));
    usage.total_cost = amount_of(object->if_contains("total_cost"));
  }
  return usage;
}

Result<runs::ExperimentId> experiment_id(const std::string& text) {
  auto id = runs::ExperimentId::parse(text);
  if (id) return id;
  return fail(Code::kNotFound, "experiments.unknown",
              fmt::format("No Experiment with id={} exists.", text.substr(0, 64)), "Search the experiments.");
}

http::Route otlp_route(traces::Traces& traces) {
  http::Route route = http::raw(
      Method::post, "/v1/traces", Right::write, "Take spans by OTLP", http::Body::bytes,
      [&traces](http::Request&& request, http::Done done) {
        auto batch = read(traces.limits(), request);
        if (!batch) return done(error_response(batch.error()));
        const bool is_json = media_type(request.headers.get("Content-Type").value_or("")) == kJson;
        traces.add_spans_async(*std::move(batch), [done = std::move(done), is_json](const Result<void>& kept) {
          if (!kept) return done(error_response(kept.error()));
          // An empty ExportTraceServiceResponse: all was taken.
          done(is_json ? http::Response::text(200, "{}", std::string(kJson))
                       : http::Response::text(200, "", std::string(kProtobuf)));
        });
      },
      {.body_bytes_max = kBodyBytesMax});
  route.error_form = error_response;
  return route;
}

}  // namespace tidemill::mlflow
