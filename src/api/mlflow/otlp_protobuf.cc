#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <optional>

#include "api/mlflow/otlp.h"
#include "base/base64.h"
#include "base/text.h"

namespace tidemill::mlflow::otlp {
namespace {

// The wire types of Protobuf (protobuf.dev/programming-guides/encoding).
enum class Wire : unsigned { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

constexpr unsigned kVarintBytesMax = 10;

// One field of a message as it stands on the wire.
struct Field {
  std::uint64_t number = 0;
  Wire wire = Wire::varint;
  std::uint64_t value = 0;  // of varint and fixed
  std::string_view bytes;
};

// Reads a message field by field.
class Message {
 public:
  explicit Message(std::string_view bytes) : bytes_(bytes) {}

  // Returns the next field, or nothing at the end.
  Result<std::optional<Field>> next() {
    if (bytes_.empty()) return std::optional<Field>();
    const std::uint64_t tag = TM_TRY(varint());
    Field field;
    field.number = tag >> 3;
    field.wire = static_cast<Wire>(tag & 7);
    if (field.number == 0 || tag > UINT32_MAX) return malformed("a field has no number");
    switch (field.wire) {
      case Wire::varint:
        field.value = TM_TRY(varint());
        return std::optional(field);
      case Wire::fixed64:
        field.value = TM_TRY(fixed<std::uint64_t>());
        return std::optional(field);
      case Wire::fixed32:
        field.value = TM_TRY(fixed<std::uint32_t>());
        return std::optional(field);
      case Wire::bytes: {
        const std::uint64_t length = TM_TRY(varint());
        if (length > bytes_.size()) return malformed("a field reaches beyond the end");
        field.bytes = bytes_.substr(0, length);
        bytes_.remove_prefix(length);
        return std::optional(field);
      }
    }
    return malformed("a field is of an unknown type");
  }

 private:
  Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < kVarintBytesMax && i < bytes_.size(); ++i) {
      const auto byte = static_cast<unsigned char>(bytes_[i]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
      if (byte >= 0x80) continue;
      bytes_.remove_prefix(i + 1);
      return value;
    }
    return malformed("a number does not end");
  }

  template <class T>
  Result<std::uint64_t> fixed() {
    static_assert(std::endian::native == std::endian::little);
    T value = 0;
    if (bytes_.size() < sizeof value) return malformed("a number is cut off");
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_.remove_prefix(sizeof value);
    return value;
  }

  std::string_view bytes_;
};

// Calls `visit(field)`, which returns Result<void>, for each field.
template <class Visit>
Result<void> each(std::string_view message, Visit visit) {
  Message reader(message);
  while (const auto field = TM_TRY(reader.next())) TM_CHECK(visit(*field));
  return {};
}

bool is(const Field& field, std::uint64_t number, Wire wire) { return field.number == number && field.wire == wire; }

Result<std::string> text_of(const Field& field) {
  if (!is_utf8(field.bytes)) return malformed("a text is not UTF-8");
  return std::string(field.bytes);
}

json::Value double_of(std::uint64_t bits) {
  const double number = std::bit_cast<double>(bits);
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
  return number;
}

Result<json::Value> read_value(std::string_view bytes, std::int64_t levels);

// KeyValue {key = 1; value = 2}
Result<void> read_pair(std::string_view bytes, std::int64_t levels, json::Object& out) {
  std::string key;
  json::Value value;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::bytes)) key = TM_TRY(text_of(field));
    if (is(field, 2, Wire::bytes)) value = TM_TRY(read_value(field.bytes, levels));
    return {};
  }));
  out[key] = std::move(value);
  return {};
}

// AnyValue {string = 1; bool = 2; int = 3; double = 4; array = 5; kvlist = 6; bytes = 7}, both lists {values = 1}
Result<json::Value> read_value(std::string_view bytes, std::int64_t levels) {
  if (levels < 0) return malformed("a value nests too deeply");
  json::Value value;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::bytes)) value = json::Value(TM_TRY(text_of(field)));
    if (is(field, 2, Wire::varint)) value = field.value != 0;
    if (is(field, 3, Wire::varint)) value = static_cast<std::int64_t>(field.value);
    if (is(field, 4, Wire::fixed64)) value = double_of(field.value);
    if (is(field, 5, Wire::bytes)) {
      json::Array array;
      TM_CHECK(each(field.bytes, [&](const Field& item) -> Result<void> {
        if (is(item, 1, Wire::bytes)) array.push_back(TM_TRY(read_value(item.bytes, levels - 1)));
        return {};
      }));
      value = std::move(array);
    }
    if (is(field, 6, Wire::bytes)) {
      json::Object object;
      TM_CHECK(each(field.bytes, [&](const Field& item) -> Result<void> {
        return is(item, 1, Wire::bytes) ? read_pair(item.bytes, levels - 1, object) : Result<void>();
      }));
      value = std::move(object);
    }
    if (is(field, 7, Wire::bytes)) value = json::Value(encode_base64(field.bytes));
    return {};
  }));
  return value;
}

// Event {time = 1; name = 2; attributes = 3}
Result<Event> read_event(std::string_view bytes, std::int64_t levels) {
  Event event;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::fixed64)) event.at_ns = field.value;
    if (is(field, 2, Wire::bytes)) event.name = TM_TRY(text_of(field));
    return is(field, 3, Wire::bytes) ? read_pair(field.bytes, levels, event.attributes) : Result<void>();
  }));
  return event;
}

// Link {trace_id = 1; span_id = 2; attributes = 4}
Result<Link> read_link(std::string_view bytes, std::int64_t levels) {
  Link link;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::bytes)) link.trace_id = field.bytes;
    if (is(field, 2, Wire::bytes)) link.span_id = field.bytes;
    return is(field, 4, Wire::bytes) ? read_pair(field.bytes, levels, link.attributes) : Result<void>();
  }));
  return link;
}

// Status {message = 2; code = 3}
Result<void> read_status(std::string_view bytes, Span& span) {
  return each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 2, Wire::bytes)) span.status_message = TM_TRY(text_of(field));
    if (is(field, 3, Wire::varint)) {
      span.status = field.value == 1 ? Status::ok : field.value == 2 ? Status::error : Status::unset;
    }
    return {};
  });
}

// Span {trace_id = 1; span_id = 2; parent = 4; name = 5; start = 7; end = 8; attributes = 9; events = 11; links = 13;
// status = 15}
Result<Span> read_span(std::string_view bytes, std::int64_t levels) {
  Span span;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::bytes)) span.trace_id = field.bytes;
    if (is(field, 2, Wire::bytes)) span.span_id = field.bytes;
    if (is(field, 4, Wire::bytes)) span.parent_id = field.bytes;
    if (is(field, 5, Wire::bytes)) span.name = TM_TRY(text_of(field));
    if (is(field, 7, Wire::fixed64)) span.start_ns = field.value;
    if (is(field, 8, Wire::fixed64)) span.end_ns = field.value;
    if (is(field, 9, Wire::bytes)) return read_pair(field.bytes, levels, span.attributes);
    if (is(field, 11, Wire::bytes)) span.events.push_back(TM_TRY(read_event(field.bytes, levels)));
    if (is(field, 13, Wire::bytes)) span.links.push_back(TM_TRY(read_link(field.bytes, levels)));
    if (is(field, 15, Wire::bytes)) return read_status(field.bytes, span);
    return {};
  }));
  TM_CHECK(check_ids(span));
  return span;
}

// ResourceSpans {resource = 1 {attributes = 1}; scope_spans = 2 {spans = 2}}
Result<ResourceSpans> read_resource_spans(std::string_view bytes, std::int64_t levels) {
  ResourceSpans out;
  TM_CHECK(each(bytes, [&](const Field& part) -> Result<void> {
    if (is(part, 1, Wire::bytes)) {
      return each(part.bytes, [&](const Field& field) -> Result<void> {
        return is(field, 1, Wire::bytes) ? read_pair(field.bytes, levels, out.resource) : Result<void>();
      });
    }
    if (!is(part, 2, Wire::bytes)) return {};
    return each(part.bytes, [&](const Field& field) -> Result<void> {
      if (is(field, 2, Wire::bytes)) out.spans.push_back(TM_TRY(read_span(field.bytes, levels)));
      return {};
    });
  }));
  return out;
}

}  // namespace

Result<std::vector<ResourceSpans>> read_protobuf(std::string_view bytes, std::int64_t nesting_max) {
  std::vector<ResourceSpans> out;
  TM_CHECK(each(bytes, [&](const Field& field) -> Result<void> {
    if (is(field, 1, Wire::bytes)) out.push_back(TM_TRY(read_resource_spans(field.bytes, nesting_max)));
    return {};
  }));
  return out;
}

}  // namespace tidemill::mlflow::otlp
