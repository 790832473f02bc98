// What is done to a database file that another process may be writing: nothing in it is made or changed.
#pragma once

#include <filesystem>
#include <functional>

#include "base/result.h"
#include "storage/sql/database.h"

namespace tidemill::sql {

// Runs `function` in a read snapshot of the file. kNotFound "sql.no_file" when there is none.
[[nodiscard]] Result<void> read_file(const std::filesystem::path& file,
                                     const std::function<Result<void>(Tx&)>& function);

// Copies the database to a new file as it stands at one moment. Who writes meanwhile does not wait, but the log of the
// source grows until the copy is done. The copy is on disk on return.
[[nodiscard]] Result<void> copy_file(const std::filesystem::path& file, const std::filesystem::path& target);

// Returns kInternal "sql.damaged" when SQLite's own integrity check finds damage.
[[nodiscard]] Result<void> check_integrity(Tx& tx);

// As copy_file, from an open connection.
[[nodiscard]] Result<void> copy_to(Connection& source, const std::filesystem::path& target);

}  // namespace tidemill::sql
