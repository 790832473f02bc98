// Frames written down row by row, for tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "storage/tables/frame.h"

namespace tidemill::features {

class FrameMaker {
 public:
  explicit FrameMaker(const std::vector<tables::ColumnType>& columns) {
    for (const tables::ColumnType& column : columns)
      frame_.columns.push_back(tables::Column::make(column.name, column.type));
  }

  // Adds a row of one value a column: numbers, booleans, texts, optionals of these, std::nullopt.
  template <class... Cells>
  void row(const Cells&... cells) {
    std::size_t column = 0;
    (add(frame_.columns[column++], cells), ...);
    ++frame_.rows;
  }

  [[nodiscard]] tables::Frame take() { return std::move(frame_); }

 private:
  template <class T>
  void add(tables::Column& column, const T& cell) {
    if constexpr (std::is_same_v<T, std::nullopt_t>) {
      column.append_missing();
    } else if constexpr (requires { cell.has_value(); }) {
      if (cell) {
        add(column, *cell);
      } else {
        column.append_missing();
      }
    } else {
      if (!column.valid.empty()) column.valid.push_back(1);
      std::visit(
          [&](auto& values) {
            using Value = typename std::remove_reference_t<decltype(values)>::value_type;
            if constexpr (std::is_constructible_v<Value, T>) values.push_back(static_cast<Value>(cell));
          },
          column.values);
    }
  }

  tables::Frame frame_;
};

}  // namespace tidemill::features
