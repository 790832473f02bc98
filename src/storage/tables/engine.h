// The one DuckDB of this process and its connections; private to this room.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "storage/tables/library.h"
#include "storage/tables/tables.h"

namespace tidemill::tables {

// A finished statement with its rows, all in memory or spilled by DuckDB.
class Answer {
 public:
  explicit Answer(const Library& api) : api_(api) {}
  Answer(Answer&& other) noexcept
      : api_(other.api_), result_(other.result_), filled_(std::exchange(other.filled_, false)) {}
  Answer& operator=(Answer&&) = delete;
  ~Answer() {
    if (filled_) api_.destroy_result(&result_);
  }
  [[nodiscard]] duckdb_result* fill() {
    filled_ = true;
    return &result_;
  }
  [[nodiscard]] duckdb_result& get() { return result_; }

 private:
  const Library& api_;
  duckdb_result result_{};
  bool filled_ = false;
};

class Engine;

// One connection and one of the places for queries. One thread at a time.
class Session {
 public:
  Session(Engine& engine, std::shared_ptr<const Library> api);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) = delete;
  ~Session();

  // Runs one statement with bound values.
  [[nodiscard]] Result<Answer> run(const NamedSql& sql, const std::vector<Param>& params = {});
  // Makes a temporary table of these columns.
  [[nodiscard]] Result<void> make_table(const std::string& name, const std::vector<ColumnType>& columns);
  // Adds the frame's rows to it.
  [[nodiscard]] Result<void> append(const std::string& table, const Frame& frame);
  // Makes a temporary table of the frame under its name.
  [[nodiscard]] Result<void> lend(const NamedFrame& frame);
  // COPY (sql) TO path as Parquet, by way of a synced temporary file beside it. Returns the rows written.
  [[nodiscard]] Result<std::int64_t> copy(const NamedSql& sql, const std::vector<Param>& params,
                                          const std::filesystem::path& path);

  [[nodiscard]] const Library& api() const { return *api_; }
  [[nodiscard]] duckdb_connection connection() const { return connection_.get(); }
  [[nodiscard]] Engine& engine() { return *engine_; }

 private:
  friend class Engine;
  [[nodiscard]] Result<void> bind(duckdb_prepared_statement statement, const NamedSql& sql,
                                  const std::vector<Param>& params);

  Engine* engine_;  // null once moved from
  std::shared_ptr<const Library> api_;
  Owned<duckdb_connection> connection_;
};

// Self-locking: any thread.
class Engine {
 public:
  explicit Engine(Options options);
  ~Engine();

  // Waits for a place, loads DuckDB if need be, and connects.
  [[nodiscard]] Result<Session> session();
  [[nodiscard]] bool loaded() const { return loaded_.load(); }
  [[nodiscard]] const Options& options() const { return options_; }

  // Interrupts `connection` at the deadline unless `unwatch` comes first.
  void watch(duckdb_connection connection);
  void unwatch(duckdb_connection connection);

 private:
  friend class Session;
  [[nodiscard]] Result<void> load();
  [[nodiscard]] Result<void> configure(duckdb_database database);
  void leave();
  void guard(const std::stop_token& stop);

  const Options options_;
  std::atomic<bool> loaded_ = false;

  std::mutex mutex_;
  std::condition_variable left_;
  int inside_ = 0;                                  // guarded by mutex_
  std::shared_ptr<const Library> api_;              // guarded by mutex_
  std::optional<Owned<duckdb_database>> database_;  // guarded by mutex_

  std::mutex watch_mutex_;
  std::condition_variable_any watch_moved_;
  std::map<duckdb_connection, std::chrono::steady_clock::time_point> watched_;  // guarded by watch_mutex_
  std::jthread guard_;                                                          // last: it uses all of the above
};

// Returns `text` as an SQL string literal, for the two places where DuckDB binds nothing: SET and COPY TO.
// kInvalidArgument for a NUL.
[[nodiscard]] Result<std::string> quote_literal(std::string_view text);

// Returns our Error for what DuckDB said, such as "IO Error: No files found …".
[[nodiscard]] Error duckdb_error(const std::string& query_name, std::string_view words);

// Returns the rows of an answer; see Tables::query for the types.
[[nodiscard]] Result<Frame> read_answer(const Library& api, Answer& answer, const std::string& query_name,
                                        std::int64_t rows_max);

// Returns the type that a frame has for DuckDB's, or nothing.
[[nodiscard]] std::optional<Type> frame_type(duckdb_type type);

}  // namespace tidemill::tables
