#include "storage/tables/csv.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/enums.h"
#include "storage/tables/csv_reader.h"
#include "storage/tables/csv_values.h"

namespace tidemill::tables {
namespace {

std::string_view type_words(Type type) {
  switch (type) {
    case Type::boolean:
      return "true or false";
    case Type::integer:
      return "a whole number";
    case Type::real:
      return "a number";
    case Type::time:
      return "a time such as 2013-01-31T05:06:07Z";
    case Type::text:
      break;
  }
  return "text";
}

std::unexpected<Error> wrong_type(const CsvReader& reader, const Column& column, std::string_view value) {
  std::string shown(value.substr(0, 64));
  while (!shown.empty() && (static_cast<unsigned char>(shown.back()) & 0x80) != 0 && value.size() > 64)
    shown.pop_back();
  return fail(Code::kInvalidArgument, "csv.wrong_type",
              fmt::format("Column '{}', row {} (line {}): '{}' is not {}.", column.name, reader.row(), reader.line(),
                          shown, type_words(column.type)),
              fmt::format("Correct the value, or declare the column as {}.",
                          column.type == Type::integer ? "real or text" : "text"),
              {{"column", column.name},
               {"row", std::to_string(reader.row())},
               {"line", std::to_string(reader.line())},
               {"value", shown}});
}

// Which cell of the file each wanted column is.
Result<std::vector<std::size_t>> places_of(const CsvReader& reader, const std::vector<ColumnType>& columns) {
  std::vector<std::size_t> places;
  for (const auto& column : columns) {
    const auto found = std::ranges::find(reader.header(), column.name);
    if (found == reader.header().end()) {
      return fail(Code::kNotFound, "csv.no_column", fmt::format("The CSV has no column '{}'.", column.name),
                  "Name a column of its header.", {{"column", column.name}});
    }
    places.push_back(static_cast<std::size_t>(found - reader.header().begin()));
  }
  return places;
}

Frame fresh(const std::vector<ColumnType>& columns) {
  Frame frame;
  for (const auto& column : columns) frame.columns.push_back(Column::make(column.name, column.type));
  return frame;
}

}  // namespace

Result<CsvShape> scan_csv(const std::filesystem::path& file, const CsvOptions& options) {
  CsvReader reader = TM_TRY(CsvReader::open(file, options));
  std::vector<TypeGuess> guesses(reader.header().size());
  std::vector<Cell> cells;
  while (TM_TRY(reader.next(cells))) {
    for (std::size_t i = 0; i < cells.size(); ++i) guesses[i].see(cells[i], options);
  }
  CsvShape shape{{}, {}, reader.row()};
  for (std::size_t i = 0; i < guesses.size(); ++i) {
    const Type type = guesses[i].type();
    shape.columns.push_back({reader.header()[i], type});
    shape.values.push_back(guesses[i].values() + (type == Type::text ? guesses[i].empty_quoted() : 0));
  }
  return shape;
}

Result<void> read_csv(const std::filesystem::path& file, const std::vector<ColumnType>& columns,
                      const CsvOptions& options, std::size_t batch_rows,
                      const std::function<Result<void>(const Frame& batch)>& visit) {
  CsvReader reader = TM_TRY(CsvReader::open(file, options));
  const std::vector<std::size_t> places = TM_TRY(places_of(reader, columns));
  Frame batch = fresh(columns);
  std::vector<Cell> cells;
  while (TM_TRY(reader.next(cells))) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Cell& cell = cells[places[i]];
      if (!append_cell(cell, options, batch.columns[i])) return wrong_type(reader, batch.columns[i], cell.text);
    }
    if (++batch.rows == batch_rows) {
      TM_CHECK(visit(batch));
      batch = fresh(columns);
    }
  }
  if (batch.rows > 0) TM_CHECK(visit(batch));
  return {};
}

}  // namespace tidemill::tables
