#include "flow/features/json_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/clock.h"
#include "base/enums.h"

namespace tidemill::features {
namespace {

using tables::Column;
using tables::Frame;
using tables::Type;

constexpr double kWholeMax = 9'007'199'254'740'992.0;  // 2^53: up to here every whole number is a double

void mark_there(Column& column) {
  if (!column.valid.empty()) column.valid.push_back(1);
}

void put(Column& column, bool value) {
  std::get<std::vector<std::uint8_t>>(column.values).push_back(value ? 1 : 0);
  mark_there(column);
}
void put(Column& column, std::int64_t value) {
  std::get<std::vector<std::int64_t>>(column.values).push_back(value);
  mark_there(column);
}
void put(Column& column, double value) {
  std::get<std::vector<double>>(column.values).push_back(value);
  mark_there(column);
}
void put(Column& column, std::string value) {
  std::get<std::vector<std::string>>(column.values).push_back(std::move(value));
  mark_there(column);
}

std::optional<std::int64_t> whole(const json::Value& value) {
  if (const std::int64_t* number = value.if_int64()) return *number;
  const double* real = value.if_double();
  if (real != nullptr && *real == std::floor(*real) && std::fabs(*real) <= kWholeMax)
    return static_cast<std::int64_t>(*real);
  return std::nullopt;
}

std::optional<double> real(const json::Value& value) {
  if (const double* number = value.if_double()) return *number;
  if (const std::int64_t* number = value.if_int64()) return static_cast<double>(*number);
  if (const std::uint64_t* number = value.if_uint64()) return static_cast<double>(*number);
  return std::nullopt;
}

// Appends the value; false when it is of another type.
bool put_json(Column& column, const json::Value& value) {
  switch (column.type) {
    case Type::boolean:
      if (const bool* flag = value.if_bool()) return put(column, *flag), true;
      return false;
    case Type::text:
      if (const auto* text = value.if_string()) return put(column, std::string(*text)), true;
      return false;
    case Type::real:
      if (const auto number = real(value)) return put(column, *number), true;
      return false;
    case Type::time:
      if (const auto* text = value.if_string()) {
        const auto at_ms = parse_utc(std::string_view(*text));
        if (at_ms) put(column, *at_ms);
        return at_ms.has_value();
      }
      [[fallthrough]];
    case Type::integer:
      if (const auto number = whole(value)) return put(column, *number), true;
      return false;
  }
  return false;
}

std::unexpected<Error> bad(std::size_t row, std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "features.bad_row", fmt::format("rows[{}]{}", row, message), std::move(remedy));
}

json::Value cell(const Column& column, std::size_t row) {
  if (column.is_missing(row)) return nullptr;
  switch (column.type) {
    case Type::boolean:
      return column.booleans()[row] != 0;
    case Type::real:
      return json::to_json(column.reals()[row]);
    case Type::text:
      return json::to_json(column.texts()[row]);
    default:
      return column.integers()[row];
  }
}

// --- bytes ------------------------------------------------------------------------------------------------------

void put_size(std::string& out, std::uint64_t size) {
  for (; size >= 0x80; size >>= 7) out.push_back(static_cast<char>(size | 0x80));
  out.push_back(static_cast<char>(size));
}

void put_word(std::string& out, std::uint64_t word) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>((word >> shift) & 0xff));
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool at_end() const { return bytes_.empty(); }
  [[nodiscard]] bool broken() const { return broken_; }

  std::uint64_t size() {
    std::uint64_t size = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).empty() ? '\0' : last_);
      size |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80U) == 0) return size;
    }
    broken_ = true;
    return 0;
  }
  std::string_view take(std::uint64_t many) {
    if (many > bytes_.size()) {
      broken_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, many);
    bytes_.remove_prefix(many);
    if (!taken.empty()) last_ = taken.back();
    return taken;
  }
  std::uint64_t word() {
    const std::string_view bytes = take(8);
    std::uint64_t word = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) word = word << 8 | static_cast<unsigned char>(bytes[i]);
    return word;
  }

 private:
  std::string_view bytes_;
  char last_ = 0;
  bool broken_ = false;
};

// Appends a stored number to a column of another type; false when it does not convert.
bool put_number(Column& column, Type stored, std::uint64_t word) {
  const auto number = static_cast<std::int64_t>(word);
  switch (column.type) {
    case Type::boolean:
      if (stored != Type::boolean) return false;
      return put(column, number != 0), true;
    case Type::real:
      return put(column, stored == Type::real ? std::bit_cast<double>(word) : static_cast<double>(number)), true;
    case Type::integer:
    case Type::time:
      if (stored == Type::real) {
        const double value = std::bit_cast<double>(word);
        if (value != std::floor(value) || std::fabs(value) > kWholeMax) return false;
        return put(column, static_cast<std::int64_t>(value)), true;
      }
      return put(column, number), true;
    case Type::text:
      break;
  }
  return false;
}

}  // namespace

Result<Frame> frame_of(const json::Array& rows, const std::vector<tables::ColumnType>& columns) {
  Frame frame;
  std::unordered_map<std::string_view, std::size_t> places;
  for (const tables::ColumnType& column : columns) {
    places.emplace(column.name, frame.columns.size());
    frame.columns.push_back(Column::make(column.name, column.type));
  }
  for (std::size_t row = 0; row < rows.size(); ++row) {
    const json::Object* object = rows[row].if_object();
    if (object == nullptr) return bad(row, " is no object.", "Write each row as {\"column\": value, …}.");
    for (const auto& [name, value] : *object) {
      const auto place = places.find(std::string_view(name));
      if (place == places.end()) {
        std::string known;
        for (const tables::ColumnType& column : columns) known += (known.empty() ? "" : ", ") + column.name;
        return bad(row, fmt::format(" has an unknown column '{}'.", std::string_view(name).substr(0, 128)),
                   fmt::format("The columns are {}.", known));
      }
      Column& column = frame.columns[place->second];
      if (value.is_null()) continue;
      if (put_json(column, value)) continue;
      return bad(row,
                 fmt::format(".{} is {}, but the column is {}.", column.name, json::serialize(value).substr(0, 64),
                             enum_name(column.type)),
                 column.type == Type::time
                     ? "Give milliseconds since 1970, or RFC 3339 text such as 2013-01-31T10:00:00Z."
                     : "Give a value of that type, or null.");
    }
    ++frame.rows;
    for (Column& column : frame.columns) {
      if (column.size() < frame.rows) column.append_missing();
    }
  }
  return frame;
}

json::Array rows_of(const Frame& frame) {
  json::Array rows;
  rows.reserve(frame.rows);
  for (std::size_t row = 0; row < frame.rows; ++row) {
    json::Object object;
    object.reserve(frame.columns.size());
    for (const Column& column : frame.columns) object[column.name] = cell(column, row);
    rows.push_back(std::move(object));
  }
  return rows;
}

std::string encode_row(const Frame& frame, std::size_t row) {
  std::string out;
  for (const Column& column : frame.columns) {
    if (column.is_missing(row)) continue;
    put_size(out, column.name.size());
    out += column.name;
    out.push_back(static_cast<char>(column.type));
    switch (column.type) {
      case Type::boolean:
        put_word(out, column.booleans()[row]);
        break;
      case Type::real:
        put_word(out, std::bit_cast<std::uint64_t>(column.reals()[row]));
        break;
      case Type::text:
        put_size(out, column.texts()[row].size());
        out += column.texts()[row];
        break;
      default:
        put_word(out, static_cast<std::uint64_t>(column.integers()[row]));
    }
  }
  return out;
}

Result<void> decode_row(std::string_view bytes, Frame& frame) {
  const auto damaged = [] {
    return fail(Code::kInternal, "features.damaged", "A stored row cannot be read back.",
                "Materialize the view again; if it stays, restore the online store from a backup.");
  };
  Reader in(bytes);
  while (!in.at_end()) {
    const std::string_view name = in.take(in.size());
    const std::string_view type_byte = in.take(1);
    if (in.broken() || type_byte[0] < 0 || type_byte[0] > static_cast<char>(Type::time)) return damaged();
    const auto stored = static_cast<Type>(type_byte[0]);
    const std::string_view text = stored == Type::text ? in.take(in.size()) : std::string_view();
    const std::uint64_t word = stored == Type::text ? 0 : in.word();
    if (in.broken()) return damaged();
    const auto found = std::ranges::find(frame.columns, name, &Column::name);
    if (found == frame.columns.end() || found->size() > frame.rows) continue;
    if (stored == Type::text && found->type == Type::text) {
      put(*found, std::string(text));
    } else if (stored == Type::text || !put_number(*found, stored, word)) {
      return fail(
          Code::kInvalidArgument, "features.invalid",
          fmt::format("A row has '{}' as {}, which is not {}.", name, enum_name(stored), enum_name(found->type)),
          "Define the view again with the type that the column has now.");
    }
  }
  ++frame.rows;
  for (Column& column : frame.columns) {
    if (column.size() < frame.rows) column.append_missing();
  }
  return {};
}

}  // namespace tidemill::features
