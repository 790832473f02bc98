#include "storage/sql/offline.h"

#include <fmt/format.h>

#include <memory>

#include "storage/sql/connection.h"

namespace tidemill::sql {
namespace {

// In one step, that is one snapshot: with several, every commit of somebody else would start the copy anew.
constexpr int kAllPages = -1;
constexpr std::int64_t kCacheKib = 4096;

constexpr Query kCheck{"sql.check", "PRAGMA integrity_check(1)"};

Result<std::unique_ptr<Connection>> open_to_read(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) {
    return fail(Code::kNotFound, "sql.no_file", fmt::format("There is no database '{}'.", file.string()),
                "Name the folder of a server that has run.");
  }
  return Connection::open(file, false, kCacheKib);
}

}  // namespace

Result<void> read_file(const std::filesystem::path& file, const std::function<Result<void>(Tx&)>& function) {
  const auto connection = TM_TRY(open_to_read(file));
  TM_CHECK(connection->script("sql.begin_read", "BEGIN"));
  Tx tx(*connection, false);
  return function(tx);  // closing the connection ends the transaction
}

Result<void> copy_to(Connection& source, const std::filesystem::path& target) {
  const auto copy = TM_TRY(Connection::open(target, true, kCacheKib));
  sqlite3_backup* backup = sqlite3_backup_init(copy->handle(), "main", source.handle(), "main");
  if (backup == nullptr) return fail(copy->error("sql.backup"));
  const int code = sqlite3_backup_step(backup, kAllPages);
  sqlite3_backup_finish(backup);
  if (code != SQLITE_DONE) return fail(copy->error("sql.backup"));
  return {};
}

Result<void> copy_file(const std::filesystem::path& file, const std::filesystem::path& target) {
  const auto source = TM_TRY(open_to_read(file));
  return copy_to(*source, target);
}

Result<void> check_integrity(Tx& tx) {
  const auto verdict = TM_TRY(tx.one<std::string>(kCheck, [](const Row& row) { return row.string(0); }));
  if (verdict && *verdict == "ok") return {};
  return fail(Code::kInternal, "sql.damaged", "The database is damaged: " + verdict.value_or("no answer") + ".",
              "Restore it from a backup.");
}

}  // namespace tidemill::sql
