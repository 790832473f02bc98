// CSV as this house reads it: strictly, in UTF-8, with every fault told by line. One reader for all, so that a file
// means the same everywhere.
//
// Form (RFC 4180, and): a header line with distinct names; the delimiter is whichever of , ; tab | the header has most
// of, outside quotes; cells in "…" may hold delimiters, line ends and doubled quotes; a quote anywhere else is an
// error; lines end in LF or CRLF; a byte order mark is skipped; wholly blank lines are skipped when there is more than
// one column.
//
// Missing: an empty cell without quotes, or one of the words `CsvOptions::missing` without quotes, in every column. A
// quoted empty cell is missing in columns of numbers, booleans and times, and the empty text in text columns. NaN (nan,
// in any case) is a number in real columns, not a missing value.
//
// Types, from all values of the column and never from a sample:
//   boolean  true/false in lower, upper or title case
//   integer  a whole number of 64 bits without leading zeros or plus sign (007 and +86… are text: they are names, not
//   amounts) real     a decimal number, exponent allowed, or nan, inf, -inf, infinity; whole numbers among them, but
//   none past 64 bits (digits would be lost: text) time     2013-01-31, or with T or a space 05:06[:07[.123456789]] and
//   optionally Z, UTC, +08:00 or +0800; without a zone it is UTC; cut to ms text     anything else; also a column
//   without any value
// Spaces around an unquoted value do not count, except in text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/tables/frame.h"

namespace tidemill::tables {

struct CsvOptions {
  std::vector<std::string> missing = {"NA", "N/A", "#N/A", "NULL", "null", "\\N"};
  std::size_t columns_max = 4096;
  std::size_t cell_bytes_max = std::size_t{1} << 20;
  std::size_t row_bytes_max = std::size_t{16} << 20;
  std::size_t read_bytes = std::size_t{1} << 20;  // how much is read at once; no result depends on it
};

struct CsvShape {
  std::vector<ColumnType> columns;
  std::vector<std::uint64_t> values;  // per column: how many cells are not missing
  std::uint64_t rows = 0;             // without the header
};

// Returns the columns and the number of rows of the file; reads it once, whole. kInvalidArgument with reason "csv.…"
// and details `line`, `column` for what is malformed.
[[nodiscard]] Result<CsvShape> scan_csv(const std::filesystem::path& file, const CsvOptions& options = {});

// Reads the file with the given columns (names as in its header, in any order; columns of the file that are not named
// are skipped) and hands them on in batches of at most `batch_rows` rows; an error of `visit` ends the reading. A cell
// that does not fit its column's type is kInvalidArgument "csv.wrong_type" naming column, row, line and value.
// kNotFound "csv.no_column" for a column that is not there.
[[nodiscard]] Result<void> read_csv(const std::filesystem::path& file, const std::vector<ColumnType>& columns,
                                    const CsvOptions& options, std::size_t batch_rows,
                                    const std::function<Result<void>(const Frame& batch)>& visit);

}  // namespace tidemill::tables
