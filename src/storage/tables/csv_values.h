// What a cell means. Private to this room.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "storage/tables/csv_reader.h"
#include "storage/tables/frame.h"

namespace tidemill::tables {

// Each returns the value of a trimmed cell, or nothing when it is of another type.
[[nodiscard]] std::optional<bool> parse_boolean(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text);
[[nodiscard]] std::optional<double> parse_real(std::string_view text);
[[nodiscard]] std::optional<std::int64_t> parse_time_ms(std::string_view text);

[[nodiscard]] std::string_view trimmed(std::string_view text);

// Returns whether the cell is missing in every column: empty or one of the words, without quotes.
[[nodiscard]] bool is_missing(const Cell& cell, const CsvOptions& options);

// The types that all values seen so far fit.
class TypeGuess {
 public:
  void see(const Cell& cell, const CsvOptions& options);
  // Returns the narrowest type that fits; text when no value was seen.
  [[nodiscard]] Type type() const;
  [[nodiscard]] std::uint64_t values() const { return values_; }
  [[nodiscard]] std::uint64_t empty_quoted() const { return empty_quoted_; }

 private:
  bool boolean_ = true;
  bool integer_ = true;
  bool real_ = true;
  bool time_ = true;
  std::uint64_t values_ = 0;        // neither missing nor empty in quotes
  std::uint64_t empty_quoted_ = 0;  // values in text columns, missing in others
};

// Appends the cell to the column; returns false when it does not fit the column's type.
[[nodiscard]] bool append_cell(const Cell& cell, const CsvOptions& options, Column& column);

}  // namespace tidemill::tables
