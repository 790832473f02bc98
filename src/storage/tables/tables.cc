#include "storage/tables/tables.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/tables/csv.h"
#include "storage/tables/engine.h"

namespace tidemill::tables {
namespace {

constexpr const char* kBatchTable = "batches";
constexpr std::size_t kCsvBatchRows = 16'384;

enum class Format { csv, parquet };

Result<Format> format_of(const std::vector<std::filesystem::path>& files) {
  std::optional<Format> format;
  for (const auto& file : files) {
    const std::string extension = file.extension().string();
    const bool parquet = extension == ".parquet";
    if (!parquet && extension != ".csv") {
      return fail(Code::kInvalidArgument, "tables.unknown_format",
                  fmt::format("'{}' is neither .parquet nor .csv.", file.string()),
                  "Give Parquet or CSV files with that extension.");
    }
    const Format one = parquet ? Format::parquet : Format::csv;
    if (format && *format != one) {
      return fail(Code::kInvalidArgument, "tables.mixed_formats", "The files are partly Parquet, partly CSV.",
                  "Give files of one kind.");
    }
    format = one;
  }
  if (!format) return fail(Code::kInvalidArgument, "tables.no_files", "No file was given.", "Give at least one file.");
  return *format;
}

// The columns of a SELECT, with how each is written so that a frame can hold it.
struct Selected {
  ColumnType column;
  std::string sql;
};

Result<std::vector<Selected>> parquet_schema(Session& session, const std::filesystem::path& file) {
  const NamedSql describe{"tables.describe", "SELECT * FROM read_parquet($1) LIMIT 0"};
  Answer answer = TM_TRY(session.run(describe, {texts({file})}));
  std::vector<Selected> columns;
  const Library& api = session.api();
  for (idx_t i = 0; i < api.column_count(&answer.get()); ++i) {
    duckdb_logical_type logical = api.column_logical_type(&answer.get(), i);
    const auto type = frame_type(api.get_type_id(logical));
    api.destroy_logical_type(&logical);
    const std::string name = api.column_name(&answer.get(), i);
    const std::string quoted = TM_TRY(quote_identifier(name));
    columns.push_back(
        {{name, type.value_or(Type::text)}, type ? quoted : fmt::format("CAST({0} AS VARCHAR) AS {0}", quoted)});
  }
  return columns;
}

Result<std::string> select_list(const std::vector<Selected>& there, const std::vector<std::string>& wanted,
                                const std::filesystem::path& file) {
  std::string list;
  const auto add = [&](const Selected& column) { list += (list.empty() ? "" : ", ") + column.sql; };
  if (wanted.empty()) std::ranges::for_each(there, add);
  for (const auto& name : wanted) {
    const auto found =
        std::ranges::find(there, name, [](const Selected& s) -> const std::string& { return s.column.name; });
    if (found == there.end()) {
      return fail(Code::kNotFound, "tables.no_column",
                  fmt::format("'{}' has no column '{}'.", file.filename().string(), name), "Name a column of the file.",
                  {{"column", name}});
    }
    add(*found);
  }
  return list;
}

// Returns the narrowest type that holds both.
Type wider(Type a, Type b) {
  if (a == b) return a;
  const bool numbers = (a == Type::integer || a == Type::real) && (b == Type::integer || b == Type::real);
  return numbers ? Type::real : Type::text;
}

// Infers the types of the first file's columns from all files together.
Result<std::vector<ColumnType>> csv_columns(const std::vector<std::filesystem::path>& files) {
  std::vector<ColumnType> columns;
  std::vector<bool> known;  // some file had a value
  for (const auto& file : files) {
    const CsvShape shape = TM_TRY(scan_csv(file));
    if (columns.empty()) {
      columns = shape.columns;
      known.assign(columns.size(), false);
    }
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto same = std::ranges::find(shape.columns, columns[i].name, &ColumnType::name);
      if (same == shape.columns.end() || shape.values[static_cast<std::size_t>(same - shape.columns.begin())] == 0)
        continue;
      columns[i].type = known[i] ? wider(columns[i].type, same->type) : same->type;
      known[i] = true;
    }
  }
  return columns;
}

void append_rows(const Frame& batch, Slice& slice, Frame& out) {
  for (std::size_t row = 0; row < batch.rows; ++row) {
    if (slice.offset > 0) {
      --slice.offset;
      continue;
    }
    if (slice.limit == 0) return;
    if (slice.limit > 0) --slice.limit;
    for (std::size_t i = 0; i < batch.columns.size(); ++i) {
      Column& column = out.columns[i];
      if (batch.columns[i].is_missing(row)) {
        column.append_missing();
        continue;
      }
      std::visit([&](auto& to) { to.push_back(std::get<std::decay_t<decltype(to)>>(batch.columns[i].values)[row]); },
                 column.values);
      if (!column.valid.empty()) column.valid.push_back(1);
    }
    ++out.rows;
  }
}

Result<Frame> read_csv_files(const std::vector<std::filesystem::path>& files, const std::vector<std::string>& wanted,
                             Slice slice, std::int64_t rows_max) {
  std::vector<ColumnType> columns = TM_TRY(csv_columns(files));
  if (!wanted.empty()) {
    std::vector<ColumnType> chosen;
    for (const auto& name : wanted) {
      const auto found = std::ranges::find(columns, name, &ColumnType::name);
      chosen.push_back(found == columns.end() ? ColumnType{name, Type::text}
                                              : *found);  // read_csv tells that it is missing
    }
    columns = std::move(chosen);
  }
  Frame frame;
  for (const auto& column : columns) frame.columns.push_back(Column::make(column.name, column.type));
  for (const auto& file : files) {
    TM_CHECK(read_csv(file, columns, {}, kCsvBatchRows, [&](const Frame& batch) -> Result<void> {
      append_rows(batch, slice, frame);
      if (static_cast<std::int64_t>(frame.rows) <= rows_max) return {};
      return fail(Code::kTooLarge, "tables.too_many_rows",
                  fmt::format("The CSV files have more than {} rows.", rows_max),
                  "Read fewer files, or raise tables.rows_max.");
    }));
  }
  return frame;
}

}  // namespace

struct ParquetWriter::State {
  Session session;
  std::vector<ColumnType> columns;
};

ParquetWriter::ParquetWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ParquetWriter::ParquetWriter(ParquetWriter&&) noexcept = default;
ParquetWriter::~ParquetWriter() = default;

Result<void> ParquetWriter::add(const Frame& batch) {
  bool same = batch.columns.size() == state_->columns.size();
  for (std::size_t i = 0; same && i < batch.columns.size(); ++i) {
    same = batch.columns[i].name == state_->columns[i].name && batch.columns[i].type == state_->columns[i].type;
  }
  if (!same) return fail(Code::kInternal, "tables.bad_frame", "A batch has other columns than its file.");
  return state_->session.append(kBatchTable, batch);
}

Result<std::int64_t> ParquetWriter::finish(const std::filesystem::path& path) {
  static constexpr const char* kAllRows = "SELECT * FROM temp.main.batches";
  return state_->session.copy({"tables.write", kAllRows}, {}, path);
}

Param texts(const std::vector<std::filesystem::path>& paths) {
  std::vector<std::string> list;
  list.reserve(paths.size());
  for (const auto& path : paths) list.push_back(std::filesystem::absolute(path).string());
  return list;
}

Result<std::unique_ptr<Tables>> Tables::create(Options options) {
  if (options.folders.empty()) {
    return fail(Code::kInvalidArgument, "tables.no_folders", "Tables may read no folder.",
                "Name at least the data folder.");
  }
  if (options.temporary.empty()) options.temporary = options.folders.front() / "tables-spill";
  if (options.threads < 1 || options.queries_max < 1 || options.memory_mib < 1 || options.query_ms_max < 1) {
    return fail(Code::kInvalidArgument, "tables.bad_setting",
                "tables.threads, tables.queries_max, tables.memory_mib and tables.query_ms_max must be at least 1.",
                "Raise them.");
  }
  return std::unique_ptr<Tables>(new Tables(std::move(options)));
}

Tables::Tables(Options options) : engine_(std::make_unique<Engine>(std::move(options))) {}
Tables::~Tables() = default;

bool Tables::loaded() const { return engine_->loaded(); }

Result<Frame> Tables::query(const NamedSql& sql, const std::vector<Param>& params,
                            const std::vector<NamedFrame>& frames) {
  Session session = TM_TRY(engine_->session());
  for (const auto& frame : frames) TM_CHECK(session.lend(frame));
  Answer answer = TM_TRY(session.run(sql, params));
  return read_answer(session.api(), answer, sql.name, engine_->options().rows_max);
}

Result<std::int64_t> Tables::export_parquet(const NamedSql& sql, const std::vector<Param>& params,
                                            const std::filesystem::path& path, const std::vector<NamedFrame>& frames) {
  Session session = TM_TRY(engine_->session());
  for (const auto& frame : frames) TM_CHECK(session.lend(frame));
  return session.copy(sql, params, path);
}

Result<Frame> Tables::read_files(const std::vector<std::filesystem::path>& files,
                                 const std::vector<std::string>& columns, Slice slice) {
  const Format format = TM_TRY(format_of(files));
  if (format == Format::csv) return read_csv_files(files, columns, slice, engine_->options().rows_max);
  Session session = TM_TRY(engine_->session());
  const auto schema = TM_TRY(parquet_schema(session, files.front()));
  // sql: names of columns cannot be bound
  const std::string text = fmt::format("SELECT {} FROM read_parquet($1) LIMIT $2 OFFSET $3",
                                       TM_TRY(select_list(schema, columns, files.front())));
  const std::int64_t limit = slice.limit < 0 ? std::numeric_limits<std::int64_t>::max() : slice.limit;
  Answer answer = TM_TRY(session.run({"tables.read_files", text}, {texts(files), limit, slice.offset}));
  return read_answer(session.api(), answer, "tables.read_files", engine_->options().rows_max);
}

Result<std::vector<ColumnType>> Tables::parquet_columns(const std::filesystem::path& file) {
  Session session = TM_TRY(engine_->session());
  std::vector<ColumnType> columns;
  for (auto& selected : TM_TRY(parquet_schema(session, file))) columns.push_back(std::move(selected.column));
  return columns;
}

Result<std::int64_t> Tables::parquet_rows(const std::vector<std::filesystem::path>& files) {
  const NamedSql count{"tables.parquet_rows", "SELECT count(*) FROM read_parquet($1)"};
  const Frame frame = TM_TRY(query(count, {texts(files)}));
  return frame.columns[0].integers()[0];
}

Result<void> Tables::write_parquet(const Frame& frame, const std::filesystem::path& path) {
  std::vector<ColumnType> columns;
  for (const auto& column : frame.columns) columns.push_back({column.name, column.type});
  ParquetWriter writer = TM_TRY(write_batches(columns));
  TM_CHECK(writer.add(frame));
  TM_CHECK(writer.finish(path));
  return {};
}

Result<ParquetWriter> Tables::write_batches(const std::vector<ColumnType>& columns) {
  auto state = std::unique_ptr<ParquetWriter::State>(new ParquetWriter::State{TM_TRY(engine_->session()), columns});
  TM_CHECK(state->session.make_table(kBatchTable, columns));
  return ParquetWriter(std::move(state));
}

}  // namespace tidemill::tables
