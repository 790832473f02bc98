// Rows as JSON objects, for the edge; and rows as stored bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "storage/tables/frame.h"

namespace tidemill::features {

// Returns the rows as a frame with exactly `columns`; an absent or null field is a missing value. Times are
// milliseconds or RFC 3339 text; whole numbers may be given where reals are asked for. kInvalidArgument names row,
// field and value: a row that is no object, an unknown field, a value of another type.
[[nodiscard]] Result<tables::Frame> frame_of(const json::Array& rows, const std::vector<tables::ColumnType>& columns);

// Returns the frame's rows as JSON objects; missing values and NaN are null.
[[nodiscard]] json::Array rows_of(const tables::Frame& frame);

// Returns one row as bytes: for each value that is there the column's name, type and value. Equal rows give equal
// bytes.
[[nodiscard]] std::string encode_row(const tables::Frame& frame, std::size_t row);

// Adds the row of `bytes` to the frame, whose columns have the wanted names and types; values of others are skipped,
// those that are not in `bytes` are missing. kInternal "features.damaged" for bytes that encode_row did not write,
// kInvalidArgument for a value that does not convert (convert.h).
[[nodiscard]] Result<void> decode_row(std::string_view bytes, tables::Frame& frame);

}  // namespace tidemill::features
