#include "api/oip/tensors.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

namespace tidemill::oip {
namespace {

using runtimes::DataType;
using simdjson::dom::element;
using simdjson::dom::element_type;

constexpr int kNestingMax = 8;

std::unexpected<Error> bad_value(const InputHead& head, std::uint64_t index, std::string_view what) {
  return fail(Code::kInvalidArgument, "oip.bad_value",
              fmt::format("Value {} of input '{}' is not {} of datatype {}.", index, head.name, what,
                          enum_name(head.data_type)),
              "Send values of the datatype, or null for a missing one.",
              {{"input", head.name}, {"index", std::to_string(index)}});
}

std::unexpected<Error> bad_count(const InputHead& head, std::uint64_t count) {
  return fail(Code::kInvalidArgument, "oip.wrong_count",
              fmt::format("Input '{}' has {} values, but its shape says {}.", head.name, count, head.count),
              "Make data and shape agree.", {{"input", head.name}});
}

// The least and the greatest value of a whole-number type.
struct Bounds {
  std::int64_t low = 0;
  std::uint64_t high = 0;
};

Bounds bounds_of(DataType type) {
  const auto of = [](auto sample) {
    using T = decltype(sample);
    return Bounds{std::is_signed_v<T> ? static_cast<std::int64_t>(std::numeric_limits<T>::min()) : 0,
                  static_cast<std::uint64_t>(std::numeric_limits<T>::max())};
  };
  switch (type) {
    case DataType::UINT8:
      return of(std::uint8_t{});
    case DataType::UINT16:
      return of(std::uint16_t{});
    case DataType::UINT32:
      return of(std::uint32_t{});
    case DataType::INT8:
      return of(std::int8_t{});
    case DataType::INT16:
      return of(std::int16_t{});
    case DataType::INT32:
      return of(std::int32_t{});
    default:
      return of(std::int64_t{});  // a column holds no more than int64; larger UINT64 values are refused
  }
}

bool is_real(DataType type) { return type == DataType::FP32 || type == DataType::FP64; }

// Calls visit(element) -> Result<void> for every scalar, in order, however it is nested.
template <class Visit>
Result<void> each_scalar(const element& data, int depth, const Visit& visit) {
  if (data.type() != element_type::ARRAY) return visit(data);
  if (depth >= kNestingMax)
    return fail(Code::kInvalidArgument, "oip.too_deep", "The data is nested too deeply.", "Send a flat list.");
  const simdjson::dom::array items = data.get_array().value_unsafe();
  for (const element item : items) {
    if (item.type() == element_type::ARRAY) {
      TM_CHECK(each_scalar(item, depth + 1, visit));
    } else {
      TM_CHECK(visit(item));
    }
  }
  return {};
}

std::optional<double> as_real(const element& item) {
  switch (item.type()) {
    case element_type::DOUBLE:
      return item.get_double().value_unsafe();
    case element_type::INT64:
      return static_cast<double>(item.get_int64().value_unsafe());
    case element_type::UINT64:
      return static_cast<double>(item.get_uint64().value_unsafe());
    default:
      return std::nullopt;
  }
}

std::optional<std::int64_t> as_integer(const element& item, const Bounds& bounds) {
  if (item.type() != element_type::INT64) return std::nullopt;  // simdjson gives UINT64 only past the greatest int64
  const std::int64_t value = item.get_int64().value_unsafe();
  if (value < bounds.low || (value > 0 && static_cast<std::uint64_t>(value) > bounds.high)) return std::nullopt;
  return value;
}

std::optional<std::uint8_t> as_boolean(const element& item) {
  if (item.type() == element_type::BOOL) return item.get_bool().value_unsafe() ? 1 : 0;
  const auto number = as_integer(item, {0, 1});
  if (!number) return std::nullopt;
  return static_cast<std::uint8_t>(*number);
}

// Appends the scalar to the column, or returns false when it does not fit the type.
bool append(tables::Column& column, const element& item, DataType type, const Bounds& bounds) {
  if (item.type() == element_type::NULL_VALUE) {
    column.append_missing();
    return true;
  }
  if (!column.valid.empty()) column.valid.push_back(1);
  if (is_real(type)) {
    const auto value = as_real(item);
    if (value) std::get<2>(column.values).push_back(*value);
    return value.has_value();
  }
  if (type == DataType::BYTES) {
    if (item.type() != element_type::STRING) return false;
    std::get<3>(column.values).emplace_back(item.get_string().value_unsafe());
    return true;
  }
  if (type == DataType::BOOL) {
    const auto value = as_boolean(item);
    if (value) std::get<0>(column.values).push_back(*value);
    return value.has_value();
  }
  const auto value = as_integer(item, bounds);
  if (value) std::get<1>(column.values).push_back(*value);
  return value.has_value();
}

tables::Type column_type(DataType type) {
  if (is_real(type)) return tables::Type::real;
  if (type == DataType::BYTES) return tables::Type::text;
  return type == DataType::BOOL ? tables::Type::boolean : tables::Type::integer;
}

template <class T>
void append_all(std::string_view bytes, std::vector<std::int64_t>& values) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof value);
    values.push_back(static_cast<std::int64_t>(value));
  }
}

Result<void> append_integers(const InputHead& head, std::string_view bytes, std::vector<std::int64_t>& values) {
  switch (head.data_type) {
    case DataType::UINT8:
      append_all<std::uint8_t>(bytes, values);
      break;
    case DataType::UINT16:
      append_all<std::uint16_t>(bytes, values);
      break;
    case DataType::UINT32:
      append_all<std::uint32_t>(bytes, values);
      break;
    case DataType::INT8:
      append_all<std::int8_t>(bytes, values);
      break;
    case DataType::INT16:
      append_all<std::int16_t>(bytes, values);
      break;
    case DataType::INT32:
      append_all<std::int32_t>(bytes, values);
      break;
    default:
      append_all<std::int64_t>(bytes, values);
      break;
  }
  if (head.data_type != DataType::UINT64) return {};
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] < 0) return bad_value(head, i, "a value up to 9223372036854775807");
  }
  return {};
}

// Strings of a binary tensor: each a u32 length and its bytes.
Result<void> append_texts(const InputHead& head, std::string_view bytes, std::vector<std::string>& values) {
  while (!bytes.empty()) {
    std::uint32_t length = 0;
    if (bytes.size() >= sizeof length) std::memcpy(&length, bytes.data(), sizeof length);
    if (bytes.size() < sizeof length || bytes.size() - sizeof length < length) {
      return fail(Code::kInvalidArgument, "oip.short_text",
                  fmt::format("Text {} of input '{}' ends too early.", values.size(), head.name),
                  "Write each text as a 4-byte little-endian length and its bytes.", {{"input", head.name}});
    }
    const std::string_view text = bytes.substr(sizeof length, length);
    if (!simdjson::validate_utf8(text.data(), text.size())) return bad_value(head, values.size(), "UTF-8 text");
    values.emplace_back(text);
    bytes.remove_prefix(sizeof length + length);
  }
  return {};
}

Result<void> check_bytes(const InputHead& head, std::string_view bytes) {
  const std::size_t size = runtimes::element_bytes(head.data_type);
  std::uint64_t wanted = 0;
  if (size == 0 || (!__builtin_mul_overflow(head.count, size, &wanted) && wanted == bytes.size())) return {};
  return fail(Code::kInvalidArgument, "oip.wrong_binary_size",
              fmt::format("Input '{}' has {} bytes, but {} values of {} need {} each.", head.name, bytes.size(),
                          head.count, enum_name(head.data_type), size),
              "Make binary_data_size, shape and datatype agree.", {{"input", head.name}});
}

Result<void> check_matrix_type(const InputHead& head) {
  if (is_real(head.data_type)) return {};
  return fail(Code::kInvalidArgument, "oip.matrix_datatype",
              fmt::format("Input '{}' is a matrix of {}.", head.name, enum_name(head.data_type)),
              "Send FP32 or FP64, or one input per column.", {{"input", head.name}});
}

template <class T>
Result<void> fill(const InputHead& head, const element& data, std::vector<std::byte>& bytes) {
  bytes.resize(head.count * sizeof(T));
  std::uint64_t index = 0;
  TM_CHECK(each_scalar(data, 0, [&](const element& item) -> Result<void> {
    const bool missing = item.type() == element_type::NULL_VALUE;
    const auto value = missing ? std::numeric_limits<double>::quiet_NaN() : as_real(item);
    if (!value) return bad_value(head, index, "a number");
    const T cell = static_cast<T>(*value);
    if (!missing && std::isinf(cell)) return bad_value(head, index, "a finite number");
    if (index < head.count) std::memcpy(bytes.data() + index * sizeof(T), &cell, sizeof cell);
    ++index;
    return {};
  }));
  if (index != head.count) return bad_count(head, index);
  return {};
}

}  // namespace

Result<tables::Column> json_column(const InputHead& head, const element& data) {
  tables::Column column = tables::Column::make(head.name, column_type(head.data_type));
  std::visit([&](auto& values) { values.reserve(std::min<std::uint64_t>(head.count, 1u << 20)); }, column.values);
  const Bounds bounds = bounds_of(head.data_type);
  std::uint64_t index = 0;
  TM_CHECK(each_scalar(data, 0, [&](const element& item) -> Result<void> {
    if (index >= head.count) return bad_count(head, index + 1);
    if (!append(column, item, head.data_type, bounds)) return bad_value(head, index, "a value");
    ++index;
    return {};
  }));
  if (index != head.count) return bad_count(head, index);
  return column;
}

Result<tables::Column> binary_column(const InputHead& head, std::string_view bytes) {
  TM_CHECK(check_bytes(head, bytes));
  tables::Column column = tables::Column::make(head.name, column_type(head.data_type));
  if (head.data_type == DataType::BYTES) {
    auto& values = std::get<3>(column.values);
    TM_CHECK(append_texts(head, bytes, values));
    if (values.size() != head.count) return bad_count(head, values.size());
  } else if (head.data_type == DataType::BOOL) {
    for (const char byte : bytes) std::get<0>(column.values).push_back(byte != 0 ? 1 : 0);
  } else if (head.data_type == DataType::FP64) {
    auto& values = std::get<2>(column.values);
    values.resize(head.count);
    if (head.count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
  } else if (head.data_type == DataType::FP32) {
    auto& values = std::get<2>(column.values);
    values.reserve(head.count);
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      values.push_back(value);
    }
  } else {
    TM_CHECK(append_integers(head, bytes, std::get<1>(column.values)));
  }
  return column;
}

Result<runtimes::Tensor> json_matrix(const InputHead& head, const element& data) {
  TM_CHECK(check_matrix_type(head));
  runtimes::Tensor tensor{head.name, head.data_type, head.shape, {}, {}};
  TM_CHECK(head.data_type == DataType::FP32 ? fill<float>(head, data, tensor.bytes)
                                            : fill<double>(head, data, tensor.bytes));
  return tensor;
}

Result<runtimes::Tensor> binary_matrix(const InputHead& head, std::string_view bytes) {
  TM_CHECK(check_matrix_type(head));
  TM_CHECK(check_bytes(head, bytes));
  runtimes::Tensor tensor{head.name, head.data_type, head.shape, {}, {}};
  const auto view = std::as_bytes(std::span(bytes.data(), bytes.size()));
  tensor.bytes.assign(view.begin(), view.end());
  return tensor;
}

}  // namespace tidemill::oip
