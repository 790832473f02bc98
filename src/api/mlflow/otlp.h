// OTLP/HTTP: how OpenTelemetry sends spans, in Protobuf and in JSON (opentelemetry.io/docs/specs/otlp, message
// ExportTraceServiceRequest of opentelemetry-proto 1). Read by hand: it is a dozen messages of Protobuf's wire format,
// and fields that nobody knows are skipped. tests/fuzz/otlp_fuzz.cc feeds it bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tidemill::mlflow::otlp {

struct Event {
  std::string name;
  std::uint64_t at_ns = 0;
  json::Object attributes;
};

struct Link {
  std::string trace_id;  // bytes
  std::string span_id;
  json::Object attributes;
};

enum class Status { unset, ok, error };

struct Span {
  std::string trace_id;   // 16 bytes
  std::string span_id;    // 8 bytes
  std::string parent_id;  // 8 bytes, or none
  std::string name;
  std::uint64_t start_ns = 0;
  std::uint64_t end_ns = 0;  // 0 while it goes on
  json::Object attributes;
  std::vector<Event> events;
  std::vector<Link> links;
  Status status = Status::unset;
  std::string status_message;
};

// Spans of one process or service, which `resource` describes.
struct ResourceSpans {
  json::Object resource;
  std::vector<Span> spans;
};

// Values become JSON: bytes as base64 text, NaN and infinities as the words "NaN", "Infinity", "-Infinity", which JSON
// lacks. Both functions answer kInvalidArgument "otlp.malformed" for what is not such a request, has ids of a wrong
// length, text that is no UTF-8, or values that nest deeper than `nesting_max`.
[[nodiscard]] Result<std::vector<ResourceSpans>> read_protobuf(std::string_view bytes, std::int64_t nesting_max);
[[nodiscard]] Result<std::vector<ResourceSpans>> read_json(std::string_view text, std::int64_t nesting_max);

// Returns the body with its Content-Encoding undone: "", "identity", "gzip" or "deflate" (zlib's or bare). kTooLarge
// past `bytes_max`, kInvalidArgument for others and for damage.
[[nodiscard]] Result<std::string> unpack(std::string_view body, std::string_view encoding, std::int64_t bytes_max);

[[nodiscard]] std::unexpected<Error> malformed(std::string_view why);
// kInvalidArgument unless the ids have their lengths and are not all zero.
[[nodiscard]] Result<void> check_ids(const Span& span);

}  // namespace tidemill::mlflow::otlp
