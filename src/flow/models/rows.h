// Labelled rows out of a file, for tests of models.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "storage/tables/frame.h"
#include "storage/tables/tables.h"

namespace tidemill::models {

// Returns the columns of a Parquet file (known by its first bytes, whatever its name is) or a CSV file (by its
// extension). kInvalidArgument, reason "models.column_missing", names a column that is not there; kTooLarge past
// `rows_max`.
[[nodiscard]] Result<tables::Frame> read_rows(tables::Tables& tables, const std::filesystem::path& file,
                                              const std::vector<std::string>& columns);

// Returns the SHA-256 of the file's content as 64 hex digits; kNotFound when it cannot be read.
[[nodiscard]] Result<std::string> file_digest(const std::filesystem::path& file);

}  // namespace tidemill::models
