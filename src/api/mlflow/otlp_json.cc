#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "api/mlflow/otlp.h"
#include "base/hash.h"

// The JSON form of OTLP: Protobuf's mapping to JSON, but ids are hex, and enums are numbers.
namespace tidemill::mlflow::otlp {
namespace {

// Each level of a value is up to four of JSON, and the request itself is some twelve.
constexpr std::size_t kJsonLevelsMax = 512;

Result<std::string> bytes_of_hex(std::string_view hex) {
  auto bytes = from_hex(hex);
  if (!bytes) return malformed("an id is not hex");
  return bytes;
}

// An object of the request, looked at where it stands. Names are camelCase, or snake_case as older exporters write.
class Node {
 public:
  explicit Node(const json::Object* object) : object_(object) {}  // null = absent

  [[nodiscard]] const json::Value* find(std::string_view name, std::string_view older = "") const {
    if (object_ == nullptr) return nullptr;
    const json::Value* value = object_->if_contains(name);
    if (value == nullptr && !older.empty()) value = object_->if_contains(older);
    return value == nullptr || value->is_null() ? nullptr : value;
  }
  [[nodiscard]] Result<std::string> text(std::string_view name, std::string_view older = "") const {
    const json::Value* value = find(name, older);
    if (value == nullptr) return std::string();
    if (const auto* text = value->if_string()) return std::string(*text);
    return malformed(fmt::format("'{}' is not a text", name));
  }
  [[nodiscard]] Result<Node> node(std::string_view name, std::string_view older = "") const {
    const json::Value* value = find(name, older);
    if (value == nullptr) return Node(nullptr);
    if (const auto* object = value->if_object()) return Node(object);
    return malformed(fmt::format("'{}' is not an object", name));
  }
  [[nodiscard]] Result<std::vector<Node>> nodes(std::string_view name, std::string_view older = "") const {
    std::vector<Node> out;
    const json::Value* value = find(name, older);
    if (value == nullptr) return out;
    const auto* array = value->if_array();
    if (array == nullptr) return malformed(fmt::format("'{}' is not a list", name));
    for (const json::Value& item : *array) {
      if (!item.is_object()) return malformed(fmt::format("'{}' holds something that is not an object", name));
      out.emplace_back(&item.get_object());
    }
    return out;
  }

 private:
  const json::Object* object_;
};

template <class T>
std::optional<T> whole(std::string_view text) {
  T number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

// Protobuf writes 64-bit numbers as texts; some writers do not.
std::optional<std::int64_t> integer_of(const json::Value& value) {
  if (const auto* number = value.if_int64()) return *number;
  if (const auto* text = value.if_string()) return whole<std::int64_t>(*text);
  return std::nullopt;
}

std::optional<json::Value> double_of(const json::Value& value) {
  if (const auto* number = value.if_double()) return json::Value(*number);
  if (const auto* number = value.if_int64()) return json::Value(static_cast<double>(*number));
  if (const auto* number = value.if_uint64()) return json::Value(static_cast<double>(*number));
  const auto* text = value.if_string();
  if (text == nullptr) return std::nullopt;
  if (*text == "NaN" || *text == "Infinity" || *text == "-Infinity") return value;
  double number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  const bool all = error == std::errc{} && end == text->data() + text->size() && std::isfinite(number);
  return all ? std::optional(json::Value(number)) : std::nullopt;
}

Result<std::string> id_of(const Node& fields, std::string_view name, std::string_view older) {
  return bytes_of_hex(TM_TRY(fields.text(name, older)));
}

Result<std::uint64_t> time_of(const Node& fields, std::string_view name, std::string_view older) {
  const json::Value* value = fields.find(name, older);
  if (value == nullptr) return 0;
  if (const auto* number = value->if_uint64()) return *number;
  if (const auto* text = value->if_string()) {
    if (const auto number = whole<std::uint64_t>(*text)) return *number;
  }
  const auto number = integer_of(*value);
  if (number && *number >= 0) return static_cast<std::uint64_t>(*number);
  return malformed(fmt::format("'{}' is not a number of nanoseconds", name));
}

Result<json::Object> attributes_of(const Node& fields, std::string_view name, std::int64_t levels);

Result<json::Value> list_of(const Node& list, std::int64_t levels);

// AnyValue: of its fields one is there, or none for null.
Result<json::Value> value_of(const Node& node, std::int64_t levels) {
  if (levels < 0) return malformed("a value nests too deeply");
  if (const json::Value* value = node.find("boolValue", "bool_value")) {
    return value->is_bool() ? Result<json::Value>(*value) : malformed("'boolValue' is not true or false");
  }
  if (const json::Value* value = node.find("intValue", "int_value")) {
    const auto number = integer_of(*value);
    return number ? Result<json::Value>(*number) : malformed("'intValue' is not a 64-bit integer");
  }
  if (const json::Value* value = node.find("doubleValue", "double_value")) {
    auto number = double_of(*value);
    return number ? Result<json::Value>(*std::move(number)) : malformed("'doubleValue' is not a number");
  }
  if (node.find("arrayValue", "array_value") != nullptr) {
    return list_of(TM_TRY(node.node("arrayValue", "array_value")), levels - 1);
  }
  if (node.find("kvlistValue", "kvlist_value") != nullptr) {
    return json::Value(TM_TRY(attributes_of(TM_TRY(node.node("kvlistValue", "kvlist_value")), "values", levels - 1)));
  }
  if (node.find("bytesValue", "bytes_value") != nullptr) {
    return json::Value(TM_TRY(node.text("bytesValue", "bytes_value")));
  }
  if (node.find("stringValue", "string_value") == nullptr) return json::Value(nullptr);
  return json::Value(TM_TRY(node.text("stringValue", "string_value")));
}

Result<json::Value> list_of(const Node& list, std::int64_t levels) {
  json::Array array;
  for (const Node& item : TM_TRY(list.nodes("values"))) array.push_back(TM_TRY(value_of(item, levels)));
  return json::Value(std::move(array));
}

Result<json::Object> attributes_of(const Node& fields, std::string_view name, std::int64_t levels) {
  json::Object out;
  for (const Node& pair : TM_TRY(fields.nodes(name))) {
    const std::string key = TM_TRY(pair.text("key"));
    out[key] = TM_TRY(value_of(TM_TRY(pair.node("value")), levels));
  }
  return out;
}

Result<Status> status_of(const Node& status) {
  const json::Value* code = status.find("code");
  if (code == nullptr) return Status::unset;
  if (const auto* word = code->if_string()) {
    if (*word == "STATUS_CODE_OK") return Status::ok;
    if (*word == "STATUS_CODE_ERROR") return Status::error;
    if (*word == "STATUS_CODE_UNSET") return Status::unset;
  }
  const auto number = integer_of(*code);
  if (!number) return malformed("'code' is not a status");
  return *number == 1 ? Status::ok : *number == 2 ? Status::error : Status::unset;
}

Result<Span> span_of(const Node& fields, std::int64_t levels) {
  Span span;
  span.trace_id = TM_TRY(id_of(fields, "traceId", "trace_id"));
  span.span_id = TM_TRY(id_of(fields, "spanId", "span_id"));
  span.parent_id = TM_TRY(id_of(fields, "parentSpanId", "parent_span_id"));
  span.name = TM_TRY(fields.text("name"));
  span.start_ns = TM_TRY(time_of(fields, "startTimeUnixNano", "start_time_unix_nano"));
  span.end_ns = TM_TRY(time_of(fields, "endTimeUnixNano", "end_time_unix_nano"));
  span.attributes = TM_TRY(attributes_of(fields, "attributes", levels));
  for (const Node& event : TM_TRY(fields.nodes("events"))) {
    span.events.push_back({TM_TRY(event.text("name")), TM_TRY(time_of(event, "timeUnixNano", "time_unix_nano")),
                           TM_TRY(attributes_of(event, "attributes", levels))});
  }
  for (const Node& link : TM_TRY(fields.nodes("links"))) {
    span.links.push_back({TM_TRY(id_of(link, "traceId", "trace_id")), TM_TRY(id_of(link, "spanId", "span_id")),
                          TM_TRY(attributes_of(link, "attributes", levels))});
  }
  const Node status = TM_TRY(fields.node("status"));
  span.status = TM_TRY(status_of(status));
  span.status_message = TM_TRY(status.text("message"));
  TM_CHECK(check_ids(span));
  return span;
}

}  // namespace

Result<std::vector<ResourceSpans>> read_json(std::string_view text, std::int64_t nesting_max) {
  const json::Value value = TM_TRY(json::parse(text, {kJsonLevelsMax, text.size()}));
  if (!value.is_object()) return malformed("it is not an object");
  std::vector<ResourceSpans> out;
  for (const Node& part : TM_TRY(Node(&value.get_object()).nodes("resourceSpans", "resource_spans"))) {
    ResourceSpans spans;
    spans.resource = TM_TRY(attributes_of(TM_TRY(part.node("resource")), "attributes", nesting_max));
    for (const Node& scope : TM_TRY(part.nodes("scopeSpans", "scope_spans"))) {
      for (const Node& span : TM_TRY(scope.nodes("spans"))) spans.spans.push_back(TM_TRY(span_of(span, nesting_max)));
    }
    out.push_back(std::move(spans));
  }
  return out;
}

}  // namespace tidemill::mlflow::otlp
