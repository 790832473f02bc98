#include "flow/models/encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "statistics/baseline.h"

namespace tidemill::models {
namespace {

std::unexpected<Error> bad_columns(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "models.columns_invalid", std::move(message), std::move(remedy));
}

std::unexpected<Error> bad_value(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "models.value_invalid", std::move(message), std::move(remedy));
}

Result<const tables::Column*> find_column(const tables::Frame& frame, std::string_view name) {
  if (const tables::Column* column = frame.find(name)) return column;
  return fail(Code::kInvalidArgument, "models.column_missing", fmt::format("The rows have no column '{}'.", name),
              "Give every column that the model takes.");
}

Result<const tables::Column*> find_number(const tables::Frame& frame, const ColumnSpec& spec) {
  const tables::Column* column = TM_TRY(find_column(frame, spec.name));
  if (column->type == tables::Type::text) {
    return bad_value(fmt::format("Column '{}' is text, but the model takes a number.", spec.name),
                     "Convert it, or declare the column a category.");
  }
  return column;
}

// The text by which a category is looked up.
std::string category_text(const tables::Column& column, std::size_t row) {
  switch (column.type) {
    case tables::Type::text:
      return column.texts()[row];
    case tables::Type::boolean:
      return column.booleans()[row] != 0 ? "true" : "false";
    case tables::Type::integer:
    case tables::Type::time:
      return std::to_string(column.integers()[row]);
    case tables::Type::real:
      return fmt::format("{}", column.reals()[row]);  // whole ones without a point, as Python's formatting of integers
  }
  return {};
}

}  // namespace

Result<Encoder> Encoder::create(std::vector<ColumnSpec> columns) {
  if (columns.empty())
    return bad_columns("The model has no columns.", "List them in columns.json in the order of the matrix.");
  Encoder encoder(std::move(columns));
  for (std::size_t i = 0; i < encoder.columns_.size(); ++i) {
    const ColumnSpec& column = encoder.columns_[i];
    if (column.name.empty()) return bad_columns(fmt::format("columns[{}] has no name.", i), "Name every column.");
    if (*encoder.find(column.name) != i) {
      return bad_columns(fmt::format("Column '{}' is listed twice.", column.name), "List every column once.");
    }
    if (column.kind == ColumnKind::number && !column.categories.empty()) {
      return bad_columns(fmt::format("Column '{}' is a number with categories.", column.name),
                         "Make its kind 'category'.");
    }
    if (column.kind == ColumnKind::category && column.categories.empty()) {
      return bad_columns(fmt::format("Column '{}' is a category without categories.", column.name),
                         "List its categories in the order of their codes.");
    }
    encoder.add_codes(column);
    if (encoder.codes_.back().size() != column.categories.size()) {
      return bad_columns(fmt::format("A category of column '{}' is listed twice.", column.name),
                         "List each category once.");
    }
  }
  return encoder;
}

void Encoder::add_codes(const ColumnSpec& column) {
  Codes& codes = codes_.emplace_back();
  codes.reserve(column.categories.size());
  for (std::size_t i = 0; i < column.categories.size(); ++i) {
    codes.emplace(column.categories[i], static_cast<std::int32_t>(i));
  }
}

std::optional<std::size_t> Encoder::find(std::string_view name) const {
  const auto found =
      std::find_if(columns_.begin(), columns_.end(), [&](const ColumnSpec& c) { return c.name == name; });
  if (found == columns_.end()) return std::nullopt;
  return static_cast<std::size_t>(found - columns_.begin());
}

std::int32_t Encoder::code(std::size_t column, std::string_view value) const {
  const auto found = codes_[column].find(value);
  return found == codes_[column].end() ? statistics::kOtherCode : found->second;
}

float Encoder::category(std::size_t column, std::string_view value) const {
  const std::int32_t index = code(column, value);
  return index < 0 ? missing(column) : static_cast<float>(index);
}

Result<std::vector<double>> Encoder::numbers(const tables::Frame& frame, std::size_t column) const {
  const tables::Column& values = *TM_TRY(find_number(frame, columns_[column]));
  std::vector<double> out(frame.rows);
  for (std::size_t row = 0; row < frame.rows; ++row) out[row] = values.number(row);
  return out;
}

Result<std::vector<std::int32_t>> Encoder::codes(const tables::Frame& frame, std::size_t column) const {
  const tables::Column& values = *TM_TRY(find_column(frame, columns_[column].name));
  std::vector<std::int32_t> out(frame.rows);
  for (std::size_t row = 0; row < frame.rows; ++row) {
    if (values.is_missing(row) || (values.type == tables::Type::real && std::isnan(values.reals()[row]))) {
      out[row] = statistics::kMissingCode;
    } else if (values.type == tables::Type::text) {
      out[row] = code(column, values.texts()[row]);
    } else {
      out[row] = code(column, category_text(values, row));
    }
  }
  return out;
}

Result<void> Encoder::encode(const tables::Frame& frame, std::span<float> matrix) const {
  if (matrix.size() != frame.rows * width()) {
    return bad_value(
        fmt::format("The matrix has {} cells for {} rows of {} columns.", matrix.size(), frame.rows, width()),
        "Give rows × columns cells.");
  }
  for (std::size_t column = 0; column < width(); ++column) {
    if (columns_[column].kind == ColumnKind::category) {
      const std::vector<std::int32_t> indices = TM_TRY(codes(frame, column));
      for (std::size_t row = 0; row < frame.rows; ++row) {
        matrix[row * width() + column] = indices[row] < 0 ? missing(column) : static_cast<float>(indices[row]);
      }
      continue;
    }
    const tables::Column& values = *TM_TRY(find_number(frame, columns_[column]));
    for (std::size_t row = 0; row < frame.rows; ++row) {
      const double value = values.number(row);
      const float cell = number(column, value);
      if (std::isinf(cell)) {
        return bad_value(fmt::format("Column '{}' of row {} is {:g}, which the model's numbers cannot hold.",
                                     columns_[column].name, row, value),
                         "Give a finite value below 3.4e38, or leave it missing.");
      }
      matrix[row * width() + column] = cell;
    }
  }
  return {};
}

Result<std::vector<float>> Encoder::encode(const tables::Frame& frame) const {
  std::vector<float> matrix(frame.rows * width());
  TM_CHECK(encode(frame, matrix));
  return matrix;
}

Result<std::vector<std::uint8_t>> binary_labels(const tables::Frame& frame, std::string_view name) {
  const tables::Column& column = *TM_TRY(find_column(frame, name));
  std::vector<std::uint8_t> labels(frame.rows);
  for (std::size_t row = 0; row < frame.rows; ++row) {
    const bool is_text = column.type == tables::Type::text;
    const std::string text = is_text ? column.texts()[row] : std::string();
    const double value = is_text ? (text == "1" || text == "true"    ? 1
                                    : text == "0" || text == "false" ? 0
                                                                     : -1)
                                 : column.number(row);
    if (column.is_missing(row) || (value != 0 && value != 1)) {
      return bad_value(fmt::format("Label '{}' of row {} is {}.", name, row,
                                   column.is_missing(row) ? "missing"
                                   : is_text              ? "'" + text.substr(0, 64) + "'"
                                                          : fmt::format("{:g}", value)),
                       "Labels are 0 and 1, or true and false.");
    }
    labels[row] = value == 1 ? 1 : 0;
  }
  return labels;
}

}  // namespace tidemill::models
