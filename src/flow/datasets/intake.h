// From an upload to Parquet of a schema. Private.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/datasets/types.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

// What the file must look like.
struct Wanted {
  std::vector<ColumnType> declared;               // types by name that are not inferred
  std::optional<std::vector<ColumnType>> schema;  // of the version that it is appended to
  std::vector<std::string> undecided;  // columns of `schema` without any value so far: their type may still change
  std::vector<std::string> missing;
};

// Returns what the file is, by its first bytes.
[[nodiscard]] Result<Format> format_of(const std::filesystem::path& file);

// Returns `file` itself, or for CSV of another encoding the path `out`, to which it has been written as UTF-8.
// kInvalidArgument "csv.not_gb18030" names the line of the first byte that is not of that encoding.
[[nodiscard]] Result<std::filesystem::path> as_utf8(const std::filesystem::path& file, Format format, Encoding encoding,
                                                    const std::filesystem::path& out);

// Returns the words that mean missing where a dataset names none.
[[nodiscard]] std::vector<std::string> default_missing();

// Returns the schema that the version gets; kInvalidArgument "csv.…", "datasets.schema_mismatch" naming the column, or
// "datasets.no_rows". The order of columns is that of the version before, else of the file.
[[nodiscard]] Result<std::vector<ColumnType>> fit_schema(tables::Tables& tables, const std::filesystem::path& file,
                                                         Format format, const Wanted& wanted, const Settings& settings);

// Writes the rows of `file` as Parquet with exactly `schema` to `out`, durably; returns their number. kInvalidArgument
// "datasets.schema_mismatch" names column, row, line and value of the first cell that does not fit.
[[nodiscard]] Result<std::int64_t> to_parquet(tables::Tables& tables, const std::filesystem::path& file, Format format,
                                              const std::vector<ColumnType>& schema,
                                              const std::vector<std::string>& missing, const Settings& settings,
                                              const std::filesystem::path& out);

}  // namespace tidemill::datasets
