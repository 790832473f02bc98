#include "flow/features/convert.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <utility>

#include "base/enums.h"

namespace tidemill::features {
namespace {

using tables::Column;
using tables::Type;

bool is_whole(Type type) { return type == Type::integer || type == Type::time; }

std::unexpected<Error> unfit(std::string_view what, const Column& column, Type to, std::string_view detail) {
  return fail(Code::kInvalidArgument, "features.invalid",
              fmt::format("{}: column '{}' is {}, which is not {}{}.", what, column.name, enum_name(column.type),
                          enum_name(to), detail),
              "Give values of that type, or define the view again with the type that the column has now.");
}

Result<std::vector<std::int64_t>> whole_numbers(const Column& column, Type to, std::string_view what) {
  std::vector<std::int64_t> out;
  out.reserve(column.size());
  for (std::size_t row = 0; row < column.size(); ++row) {
    const double value = column.is_missing(row) ? 0.0 : column.number(row);
    if (value != std::floor(value) || std::fabs(value) > 9'007'199'254'740'992.0) {
      return unfit(what, column, to, fmt::format(": {:g} in row {}", value, row + 1));
    }
    out.push_back(static_cast<std::int64_t>(value));
  }
  return out;
}

void append_number(std::string& out, std::int64_t value) {
  out.push_back('i');
  for (int shift = 56; shift >= 0; shift -= 8)
    out.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> shift) & 0xff));
}

}  // namespace

bool converts(Type from, Type to) {
  if (from == to || (is_whole(from) && is_whole(to))) return true;
  if (to == Type::real) return from == Type::boolean || is_whole(from);
  return to == Type::integer && from == Type::boolean;
}

Result<Column> convert(const Column& column, Type to, std::string_view what) {
  Column out{column.name, to, {}, column.valid};
  if (column.type == to) {
    out.values = column.values;
  } else if (column.missing() == column.size()) {  // a column without any value has whatever type its file gave it
    out = Column::make(column.name, to);
    for (std::size_t row = 0; row < column.size(); ++row) out.append_missing();
  } else if (is_whole(column.type) && is_whole(to)) {
    out.values = column.values;
  } else if (to == Type::real && column.type != Type::text) {
    std::vector<double> values(column.size());
    for (std::size_t row = 0; row < values.size(); ++row)
      values[row] = column.is_missing(row) ? 0.0 : column.number(row);
    out.values = std::move(values);
  } else if (is_whole(to) && (column.type == Type::real || (column.type == Type::boolean && to == Type::integer))) {
    out.values = TM_TRY(whole_numbers(column, to, what));
  } else {
    return unfit(what, column, to, "");
  }
  return out;
}

Result<TypedColumns> TypedColumns::of(const tables::Frame& frame, const std::vector<tables::ColumnType>& wanted,
                                      std::string_view what, bool may_lack) {
  TypedColumns out;
  for (const tables::ColumnType& want : wanted) {
    const Column* column = frame.find(want.name);
    if (column == nullptr && !may_lack) {
      return fail(Code::kInvalidArgument, "features.invalid",
                  fmt::format("{}: there is no column '{}'.", what, want.name),
                  "Add the column, or define the view without it.");
    }
    if (column != nullptr && column->type != want.type) {
      out.made_.push_back(TM_TRY(convert(*column, want.type, what)));
      column = &out.made_.back();
    }
    out.columns_.push_back(column);
  }
  return out;
}

void append_key(std::string& out, const Column& column, std::size_t row) {
  if (column.is_missing(row)) {
    out.push_back('n');
    return;
  }
  switch (column.type) {
    case Type::text: {
      const std::string& text = column.texts()[row];
      out.push_back('s');
      out += std::to_string(text.size());
      out.push_back(':');
      out += text;
      return;
    }
    case Type::real:
      out += fmt::format("r{}", column.reals()[row]);
      return;
    default:
      append_number(out, column.type == Type::boolean ? column.booleans()[row] : column.integers()[row]);
  }
}

}  // namespace tidemill::features
