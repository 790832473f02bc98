#include "storage/tables/frame.h"

#include <algorithm>
#include <limits>
#include <set>

#include "base/enums.h"

namespace tidemill::tables {
namespace {

// Which alternative of Values a type lives in.
std::size_t values_index(Type type) {
  switch (type) {
    case Type::boolean:
      return 0;
    case Type::integer:
    case Type::time:
      return 1;
    case Type::real:
      return 2;
    case Type::text:
      return 3;
  }
  return 3;
}

}  // namespace

Column Column::make(std::string name, Type type) {
  Column column{std::move(name), type, {}, {}};
  switch (values_index(type)) {
    case 0:
      column.values = std::vector<std::uint8_t>();
      break;
    case 1:
      column.values = std::vector<std::int64_t>();
      break;
    case 2:
      column.values = std::vector<double>();
      break;
    default:
      column.values = std::vector<std::string>();
      break;
  }
  return column;
}

std::size_t Column::size() const {
  return std::visit([](const auto& v) { return v.size(); }, values);
}

std::size_t Column::missing() const { return static_cast<std::size_t>(std::ranges::count(valid, std::uint8_t{0})); }

double Column::number(std::size_t row) const {
  if (is_missing(row)) return std::numeric_limits<double>::quiet_NaN();
  switch (type) {
    case Type::boolean:
      return booleans()[row];
    case Type::integer:
    case Type::time:
      return static_cast<double>(integers()[row]);
    case Type::real:
      return reals()[row];
    case Type::text:
      break;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

void Column::append_missing() {
  if (valid.empty()) valid.assign(size(), 1);
  std::visit([](auto& v) { v.emplace_back(); }, values);
  valid.push_back(0);
}

const Column* Frame::find(std::string_view name) const {
  const auto found = std::ranges::find(columns, name, &Column::name);
  return found == columns.end() ? nullptr : &*found;
}

std::string frame_fault(const Frame& frame) {
  std::set<std::string_view> names;
  for (const Column& column : frame.columns) {
    if (column.name.empty()) return "a column has no name";
    if (!names.insert(column.name).second) return "the column '" + column.name + "' stands twice";
    if (column.values.index() != values_index(column.type)) {
      return "the values of column '" + column.name + "' are not of type " + std::string(enum_name(column.type));
    }
    if (column.size() != frame.rows || (!column.valid.empty() && column.valid.size() != frame.rows)) {
      return "column '" + column.name + "' has " + std::to_string(column.size()) + " values in a frame of " +
             std::to_string(frame.rows) + " rows";
    }
  }
  return {};
}

}  // namespace tidemill::tables
