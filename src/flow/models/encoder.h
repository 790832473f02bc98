// From rows as people write them to the matrix that a model takes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "flow/models/types.h"
#include "storage/tables/frame.h"

namespace tidemill::models {

// Immutable after create(): any thread. One encoder serves the gate, the training baseline and every online row, so
// that training and serving cannot differ. A value becomes a float so: numbers as they are (NULL and NaN are missing),
// booleans 0 and 1; categories the index of their text in the column's list, where whole numbers are compared by their
// decimal text and booleans as "true" and "false". Missing values and unknown categories become NaN, or -1 where the
// column says `missing: code`.
class Encoder {
 public:
  // kInvalidArgument: no columns, an empty or doubled name, a category column without categories or with one of them
  // twice, categories on a number.
  [[nodiscard]] static Result<Encoder> create(std::vector<ColumnSpec> columns);

  [[nodiscard]] const std::vector<ColumnSpec>& columns() const { return columns_; }
  [[nodiscard]] std::size_t width() const { return columns_.size(); }

  // Returns the index of the column named `name`, or nothing.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view name) const;

  // For single values, without checks: `column` is an index into columns(). O(1).
  [[nodiscard]] float missing(std::size_t column) const {
    return columns_[column].missing == Missing::code ? -1.0F : std::numeric_limits<float>::quiet_NaN();
  }
  [[nodiscard]] float number(std::size_t column, double value) const {
    return value == value ? static_cast<float>(value) : missing(column);
  }
  // The code of a category as the matrix holds it, or missing(column).
  [[nodiscard]] float category(std::size_t column, std::string_view value) const;
  // The index of a category, or -2 for one outside the list (statistics::kOtherCode).
  [[nodiscard]] std::int32_t code(std::size_t column, std::string_view value) const;

  // Writes the frame's rows to `matrix`, row-major, rows × width(). Columns are found by name; others in the frame are
  // ignored. kInvalidArgument: a column that the frame lacks, text in a number column, a matrix of another size, a
  // number that a float cannot hold (with its row). O(rows × width).
  [[nodiscard]] Result<void> encode(const tables::Frame& frame, std::span<float> matrix) const;
  [[nodiscard]] Result<std::vector<float>> encode(const tables::Frame& frame) const;

  // Returns a number column of `frame` at double precision, NaN where missing. Errors as encode.
  [[nodiscard]] Result<std::vector<double>> numbers(const tables::Frame& frame, std::size_t column) const;
  // Returns a category column as indices; -1 where missing, -2 where unknown (statistics::kMissingCode, kOtherCode).
  [[nodiscard]] Result<std::vector<std::int32_t>> codes(const tables::Frame& frame, std::size_t column) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  using Codes = std::unordered_map<std::string, std::int32_t, Hash, std::equal_to<>>;

  explicit Encoder(std::vector<ColumnSpec> columns) : columns_(std::move(columns)) {}
  void add_codes(const ColumnSpec& column);

  std::vector<ColumnSpec> columns_;
  std::vector<Codes> codes_;  // one a column; empty for numbers
};

// Returns the label column of `frame` as 0 and 1. It may be boolean, numbers 0 and 1, or the texts "0", "1", "true",
// "false". kInvalidArgument names the first row that is missing or something else.
[[nodiscard]] Result<std::vector<std::uint8_t>> binary_labels(const tables::Frame& frame, std::string_view column);

}  // namespace tidemill::models
