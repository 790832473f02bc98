#include "flow/datasets/intake.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "base/enums.h"
#include "base/files.h"
#include "storage/tables/csv.h"

namespace tidemill::datasets {
namespace {

constexpr std::size_t kBatchRows = 32'768;

tables::CsvOptions csv_options(const std::vector<std::string>& missing, const Settings& settings) {
  tables::CsvOptions options;
  options.missing = missing;
  options.columns_max = static_cast<std::size_t>(settings.columns_max);
  options.cell_bytes_max = static_cast<std::size_t>(settings.cell_bytes_max);
  options.row_bytes_max = std::max(options.row_bytes_max, 2 * options.cell_bytes_max);
  return options;
}

std::unexpected<Error> mismatch(std::string message, std::string remedy, const std::string& column) {
  return fail(Code::kInvalidArgument, "datasets.schema_mismatch", std::move(message), std::move(remedy),
              {{"column", column}});
}

// What the file itself says: its columns with their types, and which have no value.
struct Found {
  std::vector<ColumnType> columns;
  std::vector<std::string> without_values;
};

Result<Found> look_at_csv(const std::filesystem::path& file, const tables::CsvOptions& options) {
  auto shape = TM_TRY(tables::scan_csv(file, options));
  if (shape.rows == 0) {
    return fail(Code::kInvalidArgument, "datasets.no_rows", "The upload has a header, but no rows.",
                "Give at least one row.");
  }
  Found found{std::move(shape.columns), {}};
  for (std::size_t i = 0; i < found.columns.size(); ++i) {
    if (shape.values[i] == 0) found.without_values.push_back(found.columns[i].name);
  }
  return found;
}

Result<Found> look_at_parquet(tables::Tables& tables, const std::filesystem::path& file, const Settings& settings) {
  Found found{TM_TRY(tables.parquet_columns(file)), {}};
  if (static_cast<std::int64_t>(found.columns.size()) > settings.columns_max) {
    return fail(
        Code::kInvalidArgument, "datasets.too_many_columns",
        fmt::format("The Parquet file has {} columns; the limit is {}.", found.columns.size(), settings.columns_max),
        "Give fewer columns.");
  }
  if (TM_TRY(tables.parquet_rows({file})) == 0) {
    return fail(Code::kInvalidArgument, "datasets.no_rows", "The upload has no rows.", "Give at least one row.");
  }
  return found;
}

const ColumnType* find(const std::vector<ColumnType>& columns, const std::string& name) {
  const auto found = std::ranges::find(columns, name, &ColumnType::name);
  return found == columns.end() ? nullptr : &*found;
}

bool holds(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

// Whether every value of one type is a value of the other without loss of meaning.
bool fits(Type value, Type into) {
  return value == into || into == Type::text || (value == Type::integer && into == Type::real);
}

Result<void> check_same_columns(const Found& found, const std::vector<ColumnType>& schema) {
  for (const auto& column : schema) {
    if (find(found.columns, column.name) == nullptr) {
      return mismatch(fmt::format("The upload has no column '{}', which the dataset has.", column.name),
                      "Add the column (cells may be empty), or replace the data (mode=replace).", column.name);
    }
  }
  for (const auto& column : found.columns) {
    if (find(schema, column.name) == nullptr) {
      return mismatch(fmt::format("The upload has a column '{}', which the dataset does not have.", column.name),
                      "Take the column out, or replace the data (mode=replace).", column.name);
    }
  }
  return {};
}

}  // namespace

std::vector<std::string> default_missing() { return tables::CsvOptions{}.missing; }

Result<Format> format_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream) return fail(errno_error("open", file, errno));
  char start[4] = {};
  stream.read(start, sizeof(start));
  return std::string_view(start, static_cast<std::size_t>(stream.gcount())) == "PAR1" ? Format::parquet : Format::csv;
}

Result<std::vector<ColumnType>> fit_schema(tables::Tables& tables, const std::filesystem::path& file, Format format,
                                           const Wanted& wanted, const Settings& settings) {
  const Found found = TM_TRY(format == Format::csv ? look_at_csv(file, csv_options(wanted.missing, settings))
                                                   : look_at_parquet(tables, file, settings));
  if (wanted.schema) TM_CHECK(check_same_columns(found, *wanted.schema));
  std::vector<ColumnType> schema = wanted.schema.value_or(found.columns);
  for (ColumnType& column : schema) {
    const ColumnType& here = *find(found.columns, column.name);
    const bool valueless = holds(found.without_values, column.name);
    if (const auto* declared = find(wanted.declared, column.name)) {
      column.type = declared->type;
    } else if (wanted.schema && holds(wanted.undecided, column.name) && !valueless) {
      column.type = here.type;
    }
    // A CSV cell that does not fit is found, and named by its row, when it is read.
    if (format == Format::parquet && !fits(here.type, column.type)) {
      return mismatch(fmt::format("Column '{}' is {} in the upload and {} in the dataset.", column.name,
                                  enum_name(here.type), enum_name(column.type)),
                      "Cast the column before writing it, or declare its type on the dataset.", column.name);
    }
  }
  return schema;
}

Result<std::int64_t> to_parquet(tables::Tables& tables, const std::filesystem::path& file, Format format,
                                const std::vector<ColumnType>& schema, const std::vector<std::string>& missing,
                                const Settings& settings, const std::filesystem::path& out) {
  if (format == Format::csv) {
    auto writer = TM_TRY(tables.write_batches(schema));
    auto read = tables::read_csv(file, schema, csv_options(missing, settings), kBatchRows,
                                 [&](const tables::Frame& batch) { return writer.add(batch); });
    if (!read) {
      if (read.error().reason == "csv.wrong_type") {
        read.error().reason = "datasets.schema_mismatch";
        read.error().remedy = "Correct the value, or declare another type for the column on the dataset.";
      }
      return fail(std::move(read).error());
    }
    return writer.finish(out);
  }
  std::string list;
  for (const auto& column : schema) {
    const std::string name = TM_TRY(tables::quote_identifier(column.name));
    // A time, whatever its unit and zone, is UTC in milliseconds from here on.
    list += fmt::format("{0}CAST({1} AS {2}) AS {1}", list.empty() ? "" : ", ", name, tables::sql_type(column.type));
  }
  // sql: holds quoted names only; values are bound
  const std::string text = fmt::format("SELECT {} FROM read_parquet($1)", list);
  return tables.export_parquet({"datasets.take_parquet", text}, {tables::texts({file})}, out);
}

}  // namespace tidemill::datasets
