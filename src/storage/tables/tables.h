// Columnar SQL over files: DuckDB in process, behind an API that knows frames, files and bound values.
//
//   const auto frame = tables.query({"features.rates", "SELECT carrier, avg(late) AS rate FROM read_parquet($1) GROUP
//   BY 1"},
//                                   {tables::texts(paths)});
//
// The library (70 MB) is loaded at the first use, so that a server which reads no table stays small and starts fast.
// DuckDB may touch only the folders that were given; it neither fetches nor loads extensions.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "storage/tables/frame.h"

namespace tidemill::tables {

// A query with the name that errors show. `text` may be built at run time, but only from constants and
// `quote_identifier`: values are always parameters, paths too.
struct NamedSql {
  std::string name;
  std::string text;
};

struct Missing {};
// A value for $1, $2 …; the list is a LIST of VARCHAR, as read_parquet and read_csv take it, or for `x IN (SELECT
// unnest($1))`.
using Param = std::variant<Missing, bool, std::int64_t, double, std::string, std::vector<std::string>>;

// Returns the paths as a list parameter.
[[nodiscard]] Param texts(const std::vector<std::filesystem::path>& paths);

// Returns `name` as an SQL identifier: in double quotes, quotes inside doubled. The one way a name gets into SQL.
// kInvalidArgument for an empty name, a NUL or more than 1024 bytes.
[[nodiscard]] Result<std::string> quote_identifier(std::string_view name);

// Returns the SQL name of a type: BOOLEAN, BIGINT, DOUBLE, VARCHAR, TIMESTAMP_MS.
[[nodiscard]] const char* sql_type(Type type);

// A frame that a query sees as a table of this name; the frame outlives the call.
struct NamedFrame {
  std::string name;
  const Frame* frame = nullptr;
};

struct Options {
  using json_defaults = void;
  std::filesystem::path library{};               // empty: looked for beside the program
  std::vector<std::filesystem::path> folders{};  // what DuckDB may read and write, with all beneath
  std::filesystem::path temporary{};             // where big sorts and joins spill; must lie beneath one of `folders`
  std::int64_t memory_mib = 1024;          // of all queries together; past it they spill, then fail with kExhausted
  std::int64_t temporary_mib = 16 * 1024;  // of spilled data
  int threads = 2;
  int queries_max = 4;                  // at once; further callers wait
  std::int64_t query_ms_max = 600'000;  // then a query is interrupted: kExhausted
  std::int64_t rows_max = 50'000'000;   // of one frame: kTooLarge
};

// The numbers are settings of the server; the paths are told by whoever makes the room.
BOOST_DESCRIBE_STRUCT(Options, (), (memory_mib, temporary_mib, threads, queries_max, query_ms_max, rows_max))

// Which part of the rows, in file order.
struct Slice {
  std::int64_t offset = 0;
  std::int64_t limit = -1;  // -1 = to the end
};

class Engine;

// Takes rows in batches and makes one Parquet file of them. Not thread-safe; holds one of the `queries_max` places
// until it ends.
class ParquetWriter {
 public:
  ParquetWriter(ParquetWriter&&) noexcept;
  ~ParquetWriter();  // without finish(): nothing stays
  // Adds the batch's rows; its columns must be those that the writer was made with, in order.
  [[nodiscard]] Result<void> add(const Frame& batch);
  // Writes the file durably (temporary name, fsync, rename, fsync of the folder); returns its number of rows. Call
  // once.
  [[nodiscard]] Result<std::int64_t> finish(const std::filesystem::path& path);

 private:
  friend class Tables;
  struct State;
  explicit ParquetWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// All functions may be called from any thread; each call has a connection of its own.
class Tables {
 public:
  // Only keeps the options: DuckDB is loaded by the first call that needs it.
  [[nodiscard]] static Result<std::unique_ptr<Tables>> create(Options options);
  ~Tables();

  // Runs one statement and returns its rows. Types: BOOLEAN → boolean; whole numbers (HUGEINT within int64) → integer;
  // FLOAT, DOUBLE, DECIMAL → real; VARCHAR → text; DATE and TIMESTAMP of every unit → time (cut to ms); any other type
  // is kInvalidArgument naming the column: cast it in the query. Bad SQL and values that cannot be cast are
  // kInvalidArgument with DuckDB's words; no file is kNotFound; a path outside of `folders` is kPermissionDenied; out
  // of memory, disk or time is kExhausted.
  [[nodiscard]] Result<Frame> query(const NamedSql& sql, const std::vector<Param>& params = {},
                                    const std::vector<NamedFrame>& frames = {});

  // Runs a SELECT and writes its rows to a Parquet file (zstd), durably. Returns their number. A type that a frame
  // cannot hold is written as it is.
  [[nodiscard]] Result<std::int64_t> export_parquet(const NamedSql& sql, const std::vector<Param>& params,
                                                    const std::filesystem::path& path,
                                                    const std::vector<NamedFrame>& frames = {});

  // Returns the rows of all files in the order given, each read by its extension: .parquet, .csv (see csv.h
  // for how cells become values; CSV types are inferred from all files together). `columns` empty = all, as in the
  // first file; files must have the same columns, found by name. kNotFound names a column that is not there. Types that
  // a frame cannot hold become text.
  [[nodiscard]] Result<Frame> read_files(const std::vector<std::filesystem::path>& files,
                                         const std::vector<std::string>& columns = {}, Slice slice = {});

  // Returns the columns of a Parquet file as a frame would have them; `other` gets the SQL names of types that no frame
  // holds.
  [[nodiscard]] Result<std::vector<ColumnType>> parquet_columns(const std::filesystem::path& file);

  // Returns how many rows the Parquet files have, from their footers alone.
  [[nodiscard]] Result<std::int64_t> parquet_rows(const std::vector<std::filesystem::path>& files);

  // Writes the frame as Parquet (zstd), durably.
  [[nodiscard]] Result<void> write_parquet(const Frame& frame, const std::filesystem::path& path);

  // Begins a Parquet file that is given in batches.
  [[nodiscard]] Result<ParquetWriter> write_batches(const std::vector<ColumnType>& columns);

  // Returns whether DuckDB has been loaded.
  [[nodiscard]] bool loaded() const;

 private:
  explicit Tables(Options options);
  const std::unique_ptr<Engine> engine_;
};

}  // namespace tidemill::tables
