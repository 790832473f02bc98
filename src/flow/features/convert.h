// Columns as a plan expects them. Private to the room.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/tables/frame.h"

namespace tidemill::features {

// Returns whether values of one type can stand for the other without loss in general: equal types, boolean → integer →
// real, and whole numbers ↔ times (milliseconds).
[[nodiscard]] bool converts(tables::Type from, tables::Type to);

// Columns of a frame in a given order and of given types. Those that fit are borrowed from the frame, which must
// outlive this; the others are copies.
class TypedColumns {
 public:
  // kInvalidArgument "features.invalid" when a column is not in `frame`, or holds a value that does not convert (reals
  // convert to integers where they are whole); the message names `what`, the column and the row. Columns whose
  // `optional` name is absent are null.
  [[nodiscard]] static Result<TypedColumns> of(const tables::Frame& frame,
                                               const std::vector<tables::ColumnType>& wanted, std::string_view what,
                                               bool may_lack = false);

  // Null only for a column that was allowed to be absent.
  [[nodiscard]] const tables::Column* operator[](std::size_t i) const { return columns_[i]; }

 private:
  std::deque<tables::Column> made_;
  std::vector<const tables::Column*> columns_;
};

// Returns a copy of `column` in type `to`; errors as above.
[[nodiscard]] Result<tables::Column> convert(const tables::Column& column, tables::Type to, std::string_view what);

// Adds the bytes of a key or id part: equal for equal values of types that convert without loss. Missing is distinct.
void append_key(std::string& out, const tables::Column& column, std::size_t row);

}  // namespace tidemill::features
