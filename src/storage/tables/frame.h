// A table in memory, column by column: what a query answers and what is written to a file.
//
// Missing and NaN are two things and stay two through every file and query: a missing value has no valid bit (NULL in
// SQL and Parquet), a NaN is a real value that some computation made. Statistics skip the first and must decide about
// the second.
#pragma once

#include <boost/describe.hpp>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace tidemill::tables {

// `time` is milliseconds since 1970-01-01T00:00:00Z.
enum class Type { boolean, integer, real, text, time };
BOOST_DESCRIBE_ENUM(Type, boolean, integer, real, text, time)

using Values =
    std::variant<std::vector<std::uint8_t>, std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;

struct Column {
  std::string name;
  Type type = Type::real;
  Values values;  // boolean: uint8 0 or 1; integer and time: int64; real: double; text: string (UTF-8)
  std::vector<std::uint8_t> valid;  // 1 = there, 0 = missing (its value is then 0 or ""); empty = all are there

  // Returns a column without rows whose `values` fit `type`.
  [[nodiscard]] static Column make(std::string name, Type type);

  [[nodiscard]] std::size_t size() const;
  [[nodiscard]] bool is_missing(std::size_t row) const { return !valid.empty() && valid[row] == 0; }
  [[nodiscard]] std::size_t missing() const;

  // Views of `values`; calling the one that does not fit `type` is a mistake of ours and throws.
  [[nodiscard]] const std::vector<std::uint8_t>& booleans() const { return std::get<0>(values); }
  [[nodiscard]] const std::vector<std::int64_t>& integers() const { return std::get<1>(values); }
  [[nodiscard]] const std::vector<double>& reals() const { return std::get<2>(values); }
  [[nodiscard]] const std::vector<std::string>& texts() const { return std::get<3>(values); }

  // Returns row `row` as a number: booleans 0/1, integers, times and reals; NaN when missing or text.
  [[nodiscard]] double number(std::size_t row) const;

  void append_missing();
};

struct Frame {
  std::vector<Column> columns;
  std::size_t rows = 0;

  // Returns the column, or null when there is none of that name. The frame keeps it.
  [[nodiscard]] const Column* find(std::string_view name) const;
};

struct ColumnType {
  std::string name;
  Type type = Type::text;
  bool operator==(const ColumnType&) const = default;
};
BOOST_DESCRIBE_STRUCT(ColumnType, (), (name, type))

// Returns what is wrong with the frame (a column of another length, values that do not fit its type, a name that stands
// twice or is empty), or "" when it is sound.
[[nodiscard]] std::string frame_fault(const Frame& frame);

}  // namespace tidemill::tables
