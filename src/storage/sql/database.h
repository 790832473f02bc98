// The metadata store: one writer that commits many waiting requests at once, many readers.
//
//   auto run = db.write([&](sql::Tx& tx) -> Result<RunId> { TM_TRY(tx.exec(kInsertRun, id, name)); …; return id; });
//   auto row = db.read([&](sql::Tx& tx) { return tx.one<Run>(kGetRun, read_run, id); });
//
// `write` returns only after the commit is on disk (SQLite in WAL mode with synchronous=FULL): what it acknowledged
// survives kill -9 and a power cut. If the function returns an error, everything that it did is undone and nobody
// else's work is touched.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/enums.h"
#include "base/ids.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace tidemill::sql {

// A query with its name, which errors, the slow-query log and metrics show. Write one as a named constant beside
// its one user: `constexpr sql::Query kGetRun{"runs.get", "SELECT … WHERE id = ?1"};`
struct Query {
  const char* name;
  const char* text;
  bool kept = true;  // keep it prepared. false for the rare text that is put together at run time from constant parts
                     // (a search): it is prepared anew each time, and only has to live as long as the call
};

// A value whose type is known at run time only, and several of them, bound to consecutive parameters.
using Value = std::variant<std::monostate, std::int64_t, double, std::string>;
using Values = std::vector<Value>;

// Bytes that are not text.
struct Blob {
  std::string bytes;
};

// One row while it is being visited; views end with the visit.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}
  [[nodiscard]] bool is_null(int column) const;
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] double real(int column) const;
  [[nodiscard]] std::string_view text(int column) const;
  [[nodiscard]] std::string_view blob(int column) const;

  [[nodiscard]] std::string string(int column) const { return std::string(text(column)); }
  [[nodiscard]] bool boolean(int column) const { return integer(column) != 0; }
  [[nodiscard]] std::optional<std::int64_t> maybe_integer(int column) const {
    return is_null(column) ? std::nullopt : std::optional(integer(column));
  }
  [[nodiscard]] std::optional<double> maybe_real(int column) const {
    return is_null(column) ? std::nullopt : std::optional(real(column));
  }
  [[nodiscard]] std::optional<std::string> maybe_string(int column) const {
    return is_null(column) ? std::nullopt : std::optional(string(column));
  }
  // Reads a described enum from its name; the table's CHECK keeps other words out.
  template <class E>
  [[nodiscard]] E enumerator(int column) const {
    return parse_enum<E>(text(column)).value_or(E{});
  }
  template <class I>
  [[nodiscard]] I id(int column) const {
    return I::trusted(string(column));
  }

 private:
  sqlite3_stmt* statement_;
};

class Connection;

// A transaction in progress, read-only or writing. Belongs to one thread; never outlives the function it was given to.
// Hand it on by reference to let other rooms join the same commit.
class Tx {
 public:
  Tx(Connection& connection, bool writing) : connection_(connection), writing_(writing) {}
  Tx(const Tx&) = delete;
  Tx& operator=(const Tx&) = delete;

  // Runs a statement; returns how many rows it changed. Arguments are bound to ?1, ?2 …: integers, bool, double, text,
  // Blob, Id, described enums (by name), and std::optional of these (empty = NULL). A NaN is bound as NULL by SQLite,
  // so keep its bits in an INTEGER where it matters. A violated UNIQUE or PRIMARY KEY is kAlreadyExists, reason
  // "sql.not_unique"; another constraint is kFailedPrecondition "sql.constraint"; a full disk kExhausted.
  template <class... Args>
  [[nodiscard]] Result<std::int64_t> exec(const Query& query, const Args&... args) {
    Statement statement = TM_TRY(prepare(query));
    bind_all(statement, args...);
    return run(statement);
  }

  // Calls `visit(const Row&)` for every row; it returns void, or Result<void> whose error ends the walk.
  template <class Visit, class... Args>
  [[nodiscard]] Result<void> each(const Query& query, Visit&& visit, const Args&... args) {
    Statement statement = TM_TRY(prepare(query));
    bind_all(statement, args...);
    while (TM_TRY(step(statement))) {
      if constexpr (std::is_void_v<std::invoke_result_t<Visit&, const Row&>>) {
        visit(Row(statement.handle));
      } else {
        TM_CHECK(visit(Row(statement.handle)));
      }
    }
    return {};
  }

  // Returns `read(row)` of the first row, or nothing when there is none.
  template <class T, class Read, class... Args>
  [[nodiscard]] Result<std::optional<T>> one(const Query& query, Read&& read, const Args&... args) {
    Statement statement = TM_TRY(prepare(query));
    bind_all(statement, args...);
    if (!TM_TRY(step(statement))) return std::optional<T>();
    return std::optional<T>(read(Row(statement.handle)));
  }

  // Returns `read(row)` of every row, in order.
  template <class T, class Read, class... Args>
  [[nodiscard]] Result<std::vector<T>> all(const Query& query, Read&& read, const Args&... args) {
    std::vector<T> rows;
    TM_CHECK(each(
        query, [&](const Row& row) { rows.push_back(read(row)); }, args...));
    return rows;
  }

  // Returns the first column of the first row as an integer, or `fallback` when there is no row or it is NULL.
  template <class... Args>
  [[nodiscard]] Result<std::int64_t> integer(const Query& query, std::int64_t fallback, const Args&... args) {
    auto value = TM_TRY(one<std::optional<std::int64_t>>(
        query, [](const Row& r) { return r.maybe_integer(0); }, args...));
    return value && *value ? **value : fallback;
  }

  // Returns the rowid of the last INSERT of this transaction.
  [[nodiscard]] std::int64_t last_row_id() const;

  // Keeps `callback` and calls it once this transaction is on disk, on the writer's thread: keep it short, never let it
  // write. Dropped if the transaction is undone.
  void after_commit(std::function<void()> callback) { after_commit_.push_back(std::move(callback)); }

  [[nodiscard]] bool writing() const { return writing_; }

 private:
  friend class Database;
  friend class Writer;

  struct Statement {
    sqlite3_stmt* handle = nullptr;
    const Query* query = nullptr;
    Connection* connection = nullptr;
    Statement() = default;
    Statement(Statement&& other) noexcept { *this = std::move(other); }
    Statement& operator=(Statement&& other) noexcept;
    ~Statement();  // resets the statement and gives it back to the connection's cache
  };

  [[nodiscard]] Result<Statement> prepare(const Query& query);
  [[nodiscard]] Result<bool> step(Statement& statement);
  [[nodiscard]] Result<std::int64_t> run(Statement& statement);

  template <class... Args>
  static void bind_all(Statement& statement, const Args&... args) {
    [[maybe_unused]] int index = 0;
    (bind_next(statement, index, args), ...);
  }
  template <class T>
  static void bind_next(Statement& statement, int& index, const T& value) {
    if constexpr (std::is_same_v<T, Values>) {
      for (const Value& one : value) bind_value(statement, ++index, one);
    } else {
      bind(statement, ++index, value);
    }
  }
  template <class T>
  static void bind(Statement& statement, int index, const T& value) {
    if constexpr (json_like_optional<T>::value) {
      if (value) {
        bind(statement, index, *value);
      } else {
        bind_null(statement, index);
      }
    } else if constexpr (std::is_same_v<T, Blob>) {
      bind_blob(statement, index, value.bytes);
    } else if constexpr (std::is_enum_v<T>) {
      bind_text(statement, index, enum_name(value));
    } else if constexpr (std::is_floating_point_v<T>) {
      bind_real(statement, index, value);
    } else if constexpr (std::is_integral_v<T>) {
      bind_integer(statement, index, static_cast<std::int64_t>(value));
    } else if constexpr (std::is_convertible_v<T, std::string_view>) {
      bind_text(statement, index, value);
    } else {
      bind_text(statement, index, value.str());  // Id<Tag>
    }
  }
  template <class T>
  struct json_like_optional : std::false_type {};
  template <class T>
  struct json_like_optional<std::optional<T>> : std::true_type {};

  static void bind_value(Statement& statement, int index, const Value& value);
  static void bind_null(Statement& statement, int index);
  static void bind_integer(Statement& statement, int index, std::int64_t value);
  static void bind_real(Statement& statement, int index, double value);
  static void bind_text(Statement& statement, int index, std::string_view value);
  static void bind_blob(Statement& statement, int index, std::string_view value);

  Connection& connection_;
  const bool writing_;
  std::vector<std::function<void()>> after_commit_;
};

struct Options {
  int readers_max = 8;                 // connections for reading; further readers wait
  std::int64_t cache_kib = 16 * 1024;  // page cache of the writer; a reader gets a quarter
  std::size_t waiting_max = 65'536;    // queued writes; past it `write` answers kExhausted
  std::size_t group_max = 1'024;       // writes in one commit
};

// All functions may be called from any thread, except from within a function given to read/write.
class Database {
 public:
  // Opens or makes the file (its folder must exist); kUnavailable when another process holds it.
  [[nodiscard]] static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file, Options options = {});
  // Finishes the queued writes, then closes.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Brings the tables of `room` up to date. `steps` is the text of the room's schema.sql: numbered parts, each after a
  // line `-- step N` (1, 2, 3 …), only ever appended. Steps that ran already are skipped; one whose text has changed
  // since is kFailedPrecondition.
  [[nodiscard]] Result<void> migrate(std::string_view room, std::string_view steps);

  // Runs `function(Tx&)` in a read snapshot on the calling thread and returns its Result.
  template <class F>
  [[nodiscard]] auto read(F&& function) -> std::invoke_result_t<F&, Tx&> {
    std::optional<std::invoke_result_t<F&, Tx&>> result;
    if (auto begun = read_erased([&](Tx& tx) { result.emplace(function(tx)); }); !begun) {
      return std::unexpected(std::move(begun).error());
    }
    return *std::move(result);
  }

  // Runs `function(Tx&)` on the writer's thread, waits until it is on disk, returns its Result.
  template <class F>
  [[nodiscard]] auto write(F&& function) -> std::invoke_result_t<F&, Tx&> {
    std::optional<std::invoke_result_t<F&, Tx&>> result;
    auto done = write_erased([&](Tx& tx) -> Result<void> {
      result.emplace(function(tx));
      if (!*result) return std::unexpected(result->error());
      return {};
    });
    if (!done) return std::unexpected(std::move(done).error());
    return *std::move(result);
  }

  // Queues `function` and returns at once; `done` gets its result on the writer's thread after the commit (keep it
  // short). When the queue is full `done` gets kExhausted before this returns. `function` and `done` are owned by the
  // database until then.
  void write_async(std::function<Result<void>(Tx&)> function, std::function<void(Result<void>)> done);

  // Copies the database, consistently and while others write, to a new file.
  [[nodiscard]] Result<void> backup(const std::filesystem::path& file);

  // Returns an error when SQLite's own integrity check finds damage.
  [[nodiscard]] Result<void> check();

  // Returns false after a failed sync: writes are then refused until a restart, reads go on.
  [[nodiscard]] bool healthy() const;

 private:
  class Impl;
  explicit Database(std::unique_ptr<Impl> impl);
  [[nodiscard]] Result<void> read_erased(const std::function<void(Tx&)>& function);
  [[nodiscard]] Result<void> write_erased(std::function<Result<void>(Tx&)> function);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::sql
