// Traces: what one request to an application did, as a tree of spans, and what was thought of it.
#pragma once

#include <boost/describe.hpp>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"
#include "flow/runs/types.h"

namespace tidemill::traces {

using runs::ExperimentId;
using runs::KeyValue;
using runs::Page;
using runs::RunId;

// Whoever traces makes the id, so its form is theirs: 1 to 64 letters, digits, '-', '_', '.' and ':'.
class TraceId {
 public:
  TraceId() = default;  // empty; only to be assigned to
  // Returns the id, or kInvalidArgument when `text` is not of this form.
  [[nodiscard]] static Result<TraceId> parse(std::string_view text);
  [[nodiscard]] static TraceId trusted(std::string text) { return TraceId(std::move(text)); }

  [[nodiscard]] const std::string& str() const { return value_; }
  auto operator<=>(const TraceId&) const = default;

 private:
  explicit TraceId(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

// "a-" and 32 lowercase hex digits.
class AssessmentId {
 public:
  AssessmentId() = default;
  [[nodiscard]] static AssessmentId generate() { return AssessmentId("a-" + generate_hex_id()); }
  [[nodiscard]] static AssessmentId trusted(std::string text) { return AssessmentId(std::move(text)); }

  [[nodiscard]] const std::string& str() const { return value_; }
  auto operator<=>(const AssessmentId&) const = default;

 private:
  explicit AssessmentId(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

enum class State { state_unspecified, in_progress, ok, error };
BOOST_DESCRIBE_ENUM(State, state_unspecified, in_progress, ok, error)

enum class SpanStatus { unset, ok, error };
BOOST_DESCRIBE_ENUM(SpanStatus, unset, ok, error)

// What language models were given and gave, in tokens, and what that cost, in US dollars.
struct Usage {
  std::optional<std::int64_t> input_tokens;
  std::optional<std::int64_t> output_tokens;
  std::optional<std::int64_t> total_tokens;
  std::optional<std::int64_t> cache_read_tokens;
  std::optional<std::int64_t> cache_creation_tokens;
  std::optional<double> input_cost;
  std::optional<double> output_cost;
  std::optional<double> total_cost;

  [[nodiscard]] bool has_tokens() const { return input_tokens || output_tokens || total_tokens; }
  [[nodiscard]] bool has_costs() const { return input_cost || output_cost || total_cost; }
};
BOOST_DESCRIBE_STRUCT(Usage, (),
                      (input_tokens, output_tokens, total_tokens, cache_read_tokens, cache_creation_tokens, input_cost,
                       output_cost, total_cost))

struct SpanEvent {
  std::string name;
  std::int64_t at_ns = 0;
  json::Object attributes;
};
BOOST_DESCRIBE_STRUCT(SpanEvent, (), (name, at_ns, attributes))

// To a span of another trace, or of this one.
struct SpanLink {
  std::string trace;
  std::string span;
  json::Object attributes;
};
BOOST_DESCRIBE_STRUCT(SpanLink, (), (trace, span, attributes))

struct Span {
  TraceId trace;
  std::string id;      // 16 lowercase hex digits
  std::string parent;  // "" for a root
  std::string name;
  std::string type;  // such as LLM, RETRIEVER; UNKNOWN where the client says none
  SpanStatus status = SpanStatus::unset;
  std::string status_message;
  std::int64_t start_ns = 0;           // since 1970
  std::optional<std::int64_t> end_ns;  // none while it goes on
  json::Object attributes;
  std::vector<SpanEvent> events;
  std::vector<SpanLink> links;
  Usage usage;
  std::string model;
  std::string provider;
};

// What a batch of spans says of the trace as a whole. It never takes the place of what start() said.
struct TraceHints {
  TraceId trace;
  std::optional<std::string> name;
  std::vector<KeyValue> tags;
  std::vector<KeyValue> metadata;
  std::optional<std::string> request_preview;
  std::optional<std::string> response_preview;
};

struct SpanBatch {
  ExperimentId experiment;
  std::vector<Span> spans;  // of any traces
  std::vector<TraceHints> hints;
  std::optional<RunId> run;  // the traces whose root is among the spans belong to it
};

enum class AssessmentKind { feedback, expectation, issue };
BOOST_DESCRIBE_ENUM(AssessmentKind, feedback, expectation, issue)

// Why a judge came to no value.
struct AssessmentError {
  std::string code;
  std::string message;
  std::string stack;
};
BOOST_DESCRIBE_STRUCT(AssessmentError, (), (code, message, stack))

struct Assessment {
  AssessmentId id;
  TraceId trace;
  AssessmentKind kind = AssessmentKind::feedback;
  std::string name;
  std::string span;         // id of a span, or ""
  std::string source_type;  // HUMAN, LLM_JUDGE or CODE
  std::string source_id;
  json::Value value;
  std::optional<AssessmentError> error;
  std::string rationale;
  std::vector<KeyValue> metadata;  // by key
  std::string overrides;           // id of the assessment that this one replaces, or ""
  bool valid = true;               // false once another overrides it
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
};

// What shall change; absent fields stay, metadata is added to.
struct AssessmentChange {
  std::optional<std::string> name;
  std::optional<AssessmentKind> kind;  // of `value`: an error unless it is the assessment's own
  std::optional<json::Value> value;
  std::optional<AssessmentError> error;
  std::optional<std::string> rationale;
  std::vector<KeyValue> metadata;
};

struct PromptVersion {
  std::string name;
  std::int64_t version = 0;
};

// A trace as whoever made it describes it.
struct NewTrace {
  TraceId id;
  ExperimentId experiment;
  std::string client_request_id;
  std::int64_t at_ms = 0;
  std::optional<std::int64_t> duration_ms;
  State state = State::state_unspecified;
  std::optional<std::string> name;
  std::optional<std::string> request_preview;
  std::optional<std::string> response_preview;
  std::vector<KeyValue> metadata;
  std::vector<KeyValue> tags;
  std::vector<Assessment> assessments;
  std::optional<RunId> run;  // in which it came to be
  Usage usage;               // what is absent is summed up from the spans
};

// A trace without its spans; lists by key, assessments by age.
struct Trace : NewTrace {
  std::int64_t spans = 0;  // how many are stored
};

// A search, in the grammar of runs/filter.h.
struct Search {
  std::vector<ExperimentId> experiments;
  std::string filter{};
  std::vector<std::string> order_by{};
  std::int64_t limit = 100;
  std::int64_t offset = 0;
};

// Which traces of an experiment shall go; at least one of the first two is needed.
struct Removal {
  ExperimentId experiment;
  std::optional<std::int64_t> until_ms;  // those that began then or before, the oldest first
  std::vector<TraceId> ids;
  std::optional<std::int64_t> count_max;
};

// The limits of this room, settable by name.
struct Limits {
  using json_defaults = void;
  std::int64_t batch_spans_max = 20'000;
  std::int64_t batch_bytes_max = 64 << 20;  // of one request, unpacked
  std::int64_t span_bytes_max = 16 << 20;
  std::int64_t span_name_chars_max = 1'000;
  std::int64_t trace_spans_max = 100'000;
  std::int64_t nesting_max = 60;  // of an attribute's value
  std::int64_t key_chars_max = 250;
  std::int64_t tag_chars_max = 8'000;
  std::int64_t preview_chars_max = 1'000;
  std::int64_t assessments_max = 1'000;  // of one trace
  std::int64_t assessment_bytes_max = 1 << 20;
  std::int64_t linked_max = 100;  // traces or prompts in one request
  std::int64_t got_max = 500;     // traces in one request
  std::int64_t search_results_max = 500;
};
BOOST_DESCRIBE_STRUCT(Limits, (),
                      (batch_spans_max, batch_bytes_max, span_bytes_max, span_name_chars_max, trace_spans_max,
                       nesting_max, key_chars_max, tag_chars_max, preview_chars_max, assessments_max,
                       assessment_bytes_max, linked_max, got_max, search_results_max))

}  // namespace tidemill::traces
