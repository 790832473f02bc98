// One SQLite connection with its prepared statements. Private to storage/sql.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "storage/sql/database.h"

namespace tidemill::sql {

// Not thread-safe: one thread at a time.
class Connection {
 public:
  // Opens the file. A reading connection cannot write, whatever SQL it is given.
  [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const std::filesystem::path& file, bool writing,
                                                                std::int64_t cache_kib);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Runs one or more statements that return no rows and take no values.
  [[nodiscard]] Result<void> script(std::string_view name, const std::string& text);

  // Lends a prepared statement, from the cache or newly made; `give_back` resets it.
  [[nodiscard]] Result<sqlite3_stmt*> lend(const Query& query);
  void give_back(const Query& query, sqlite3_stmt* statement);

  // Returns the Error of the last failed call, in words of ours.
  [[nodiscard]] Error error(std::string_view query_name) const;
  // Returns whether the last failed call was a sync that the disk refused.
  [[nodiscard]] bool sync_failed() const;
  // Returns whether no transaction is open: SQLite ends one by itself on a full disk and on I/O errors.
  [[nodiscard]] bool idle() const { return sqlite3_get_autocommit(handle_) != 0; }

  [[nodiscard]] sqlite3* handle() { return handle_; }

 private:
  explicit Connection(sqlite3* handle) : handle_(handle) {}

  sqlite3* const handle_;
  // Keyed by the address of the query's text: queries are constants.
  std::unordered_map<const char*, std::vector<sqlite3_stmt*>> free_statements_;
};

}  // namespace tidemill::sql
