#include "storage/sql/connection.h"

#include <fmt/format.h>

#include <utility>

namespace tidemill::sql {
namespace {

constexpr int kBusyTimeoutMs = 10'000;

std::string pragmas(bool writing, std::int64_t cache_kib) {
  std::string text;
  if (writing) {
    // First of all, since it changes the file: readers and the writer do not wait for each other.
    text += "PRAGMA journal_mode = WAL;";
    // FULL syncs the log at every commit; without it a power cut could take back what was acknowledged.
    text += "PRAGMA synchronous = FULL;";
    // A long reader can let the log grow; this gives the space back after the next checkpoint.
    text += "PRAGMA journal_size_limit = 67108864;";
    text += "PRAGMA wal_autocheckpoint = 4000;";
  }
  text += "PRAGMA foreign_keys = ON;";
  text += "PRAGMA temp_store = MEMORY;";
  text += "PRAGMA trusted_schema = OFF;";
  text += fmt::format("PRAGMA cache_size = -{};", cache_kib);  // negative: KiB, not pages
  if (!writing) text += "PRAGMA query_only = ON;";             // last: it forbids the pragmas above that write
  return text;
}

}  // namespace

Result<std::unique_ptr<Connection>> Connection::open(const std::filesystem::path& file, bool writing,
                                                     std::int64_t cache_kib) {
  sqlite3* handle = nullptr;
  const int flags =
      SQLITE_OPEN_READWRITE | (writing ? SQLITE_OPEN_CREATE : 0) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(file.c_str(), &handle, flags, nullptr);
  std::unique_ptr<Connection> connection(new Connection(handle));
  if (code != SQLITE_OK) {
    return fail(Code::kUnavailable, "sql.cannot_open",
                fmt::format("Could not open the database '{}': {}.", file.string(), sqlite3_errstr(code)),
                "Check that its folder exists and can be written.");
  }
  sqlite3_busy_timeout(handle, kBusyTimeoutMs);
  TM_CHECK(connection->script("sql.pragmas", pragmas(writing, cache_kib)));
  return connection;
}

Connection::~Connection() {
  for (auto& [text, statements] : free_statements_) {
    for (sqlite3_stmt* statement : statements) sqlite3_finalize(statement);
  }
  sqlite3_close_v2(handle_);
}

Result<void> Connection::script(std::string_view name, const std::string& text) {
  if (sqlite3_exec(handle_, text.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(error(name));
}

Result<sqlite3_stmt*> Connection::lend(const Query& query) {
  if (query.kept) {
    auto& free = free_statements_[query.text];
    if (!free.empty()) {
      sqlite3_stmt* statement = free.back();
      free.pop_back();
      return statement;
    }
  }
  sqlite3_stmt* statement = nullptr;
  const unsigned flags = query.kept ? SQLITE_PREPARE_PERSISTENT : 0;
  if (sqlite3_prepare_v3(handle_, query.text, -1, flags, &statement, nullptr) != SQLITE_OK) {
    return fail(error(query.name));
  }
  return statement;
}

void Connection::give_back(const Query& query, sqlite3_stmt* statement) {
  if (!query.kept) {
    sqlite3_finalize(statement);
    return;
  }
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  free_statements_[query.text].push_back(statement);
}

bool Connection::sync_failed() const {
  const int code = sqlite3_extended_errcode(handle_);
  return code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
}

Error Connection::error(std::string_view query_name) const {
  const int code = sqlite3_extended_errcode(handle_);
  const std::string text = fmt::format("The query {} failed: {}.", query_name, sqlite3_errmsg(handle_));
  std::map<std::string, std::string> details{{"query", std::string(query_name)}};
  switch (code) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
      return {Code::kAlreadyExists, "sql.not_unique", text, "Choose another name.", std::move(details)};
    default:
      break;
  }
  switch (code & 0xFF) {
    case SQLITE_CONSTRAINT:
      return {Code::kFailedPrecondition, "sql.constraint", text, "", std::move(details)};
    case SQLITE_FULL:
      return {Code::kExhausted, "storage.disk_full", text, "Free space on that disk, then try again.",
              std::move(details)};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {Code::kUnavailable, "sql.busy", text, "Try again.", std::move(details)};
    case SQLITE_TOOBIG:
      return {Code::kTooLarge, "sql.too_large", text, "Send less at once.", std::move(details)};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Code::kInternal, "sql.damaged", text, "Restore the database from a backup.", std::move(details)};
    default:
      return {Code::kInternal, "sql.failed", text, "", std::move(details)};
  }
}

}  // namespace tidemill::sql
