// Between DuckDB's vectors and our columns.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "storage/tables/engine.h"
#include "storage/tables/utf8.h"

namespace tidemill::tables {
namespace {

constexpr std::int64_t kMsPerDay = 86'400'000;

// One column of one chunk.
struct Piece {
  const void* data;
  const std::uint64_t* validity;  // null = all are there
  std::size_t rows;
  [[nodiscard]] bool there(std::size_t row) const {
    return validity == nullptr || ((validity[row / 64] >> (row % 64)) & 1) != 0;
  }
};

template <class Raw, class Out, class Convert>
void append_as(const Piece& piece, std::vector<Out>& out, Convert&& convert) {
  const auto* raw = static_cast<const Raw*>(piece.data);
  for (std::size_t i = 0; i < piece.rows; ++i)
    out.push_back(piece.there(i) ? static_cast<Out>(convert(raw[i])) : Out{});
}

template <class Raw, class Out>
void append_plain(const Piece& piece, std::vector<Out>& out) {
  append_as<Raw>(piece, out, [](Raw value) { return value; });
}

// Rounds towards minus infinity, so that 1969 is cut the same way as 1971.
std::int64_t floor_div(std::int64_t value, std::int64_t by) { return value / by - (value % by < 0 ? 1 : 0); }

// Appends whole numbers and times; returns false when one does not fit 64 bits.
bool append_integers(duckdb_type type, const Piece& piece, std::vector<std::int64_t>& out) {
  bool fits = true;
  const auto huge = [&](auto value) {
    const bool one = (value.upper == 0 && value.lower <= INT64_MAX) ||
                     (static_cast<std::int64_t>(value.upper) == -1 && value.lower > INT64_MAX);
    fits = fits && one;
    return static_cast<std::int64_t>(value.lower);
  };
  switch (type) {
    case DUCKDB_TYPE_TINYINT:
      append_plain<std::int8_t>(piece, out);
      break;
    case DUCKDB_TYPE_SMALLINT:
      append_plain<std::int16_t>(piece, out);
      break;
    case DUCKDB_TYPE_INTEGER:
      append_plain<std::int32_t>(piece, out);
      break;
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_TIMESTAMP_MS:
      append_plain<std::int64_t>(piece, out);
      break;
    case DUCKDB_TYPE_UTINYINT:
      append_plain<std::uint8_t>(piece, out);
      break;
    case DUCKDB_TYPE_USMALLINT:
      append_plain<std::uint16_t>(piece, out);
      break;
    case DUCKDB_TYPE_UINTEGER:
      append_plain<std::uint32_t>(piece, out);
      break;
    case DUCKDB_TYPE_UBIGINT:
      append_as<std::uint64_t>(piece, out, [&](std::uint64_t value) {
        fits = fits && value <= INT64_MAX;
        return value;
      });
      break;
    case DUCKDB_TYPE_HUGEINT:
      append_as<duckdb_hugeint>(piece, out, huge);
      break;
    case DUCKDB_TYPE_DATE:
      append_as<std::int32_t>(piece, out, [](std::int32_t d) { return d * kMsPerDay; });
      break;
    case DUCKDB_TYPE_TIMESTAMP_S:
      append_as<std::int64_t>(piece, out, [](std::int64_t s) { return s * 1000; });
      break;
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      append_as<std::int64_t>(piece, out, [](std::int64_t us) { return floor_div(us, 1000); });
      break;
    case DUCKDB_TYPE_TIMESTAMP_NS:
      append_as<std::int64_t>(piece, out, [](std::int64_t ns) { return floor_div(ns, 1'000'000); });
      break;
    default:
      return false;
  }
  return fits;
}

void append_reals(const Library& api, duckdb_logical_type logical, const Piece& piece, std::vector<double>& out) {
  switch (api.get_type_id(logical)) {
    case DUCKDB_TYPE_FLOAT:
      append_plain<float>(piece, out);
      return;
    case DUCKDB_TYPE_DOUBLE:
      append_plain<double>(piece, out);
      return;
    default:
      break;  // DECIMAL
  }
  const double scale = std::pow(10.0, api.decimal_scale(logical));
  switch (api.decimal_internal_type(logical)) {
    case DUCKDB_TYPE_SMALLINT:
      append_as<std::int16_t>(piece, out, [&](std::int16_t v) { return v / scale; });
      return;
    case DUCKDB_TYPE_INTEGER:
      append_as<std::int32_t>(piece, out, [&](std::int32_t v) { return v / scale; });
      return;
    case DUCKDB_TYPE_BIGINT:
      append_as<std::int64_t>(piece, out, [&](std::int64_t v) { return static_cast<double>(v) / scale; });
      return;
    default:
      append_as<duckdb_hugeint>(piece, out, [&](duckdb_hugeint v) {
        return (static_cast<double>(v.upper) * 18446744073709551616.0 + static_cast<double>(v.lower)) / scale;
      });
  }
}

void append_texts(const Piece& piece, std::vector<std::string>& out) {
  const auto* raw = static_cast<const duckdb_string_t*>(piece.data);
  for (std::size_t i = 0; i < piece.rows; ++i) {
    if (!piece.there(i)) {
      out.emplace_back();
      continue;
    }
    const std::uint32_t length = raw[i].value.inlined.length;
    out.emplace_back(
        length <= sizeof(raw[i].value.inlined.inlined) ? raw[i].value.inlined.inlined : raw[i].value.pointer.ptr,
        length);
  }
}

void append_valid(const Piece& piece, Column& column, std::size_t rows_before) {
  if (piece.validity == nullptr && column.valid.empty()) return;
  if (column.valid.empty()) column.valid.assign(rows_before, 1);
  for (std::size_t i = 0; i < piece.rows; ++i) column.valid.push_back(piece.there(i) ? 1 : 0);
}

// Appends one piece to a column of the type that frame_type gave.
bool append_piece(const Library& api, duckdb_logical_type logical, const Piece& piece, Column& column,
                  std::size_t rows_before) {
  bool fits = true;
  switch (column.type) {
    case Type::boolean:
      append_plain<bool>(piece, std::get<0>(column.values));
      break;
    case Type::integer:
    case Type::time:
      fits = append_integers(api.get_type_id(logical), piece, std::get<1>(column.values));
      break;
    case Type::real:
      append_reals(api, logical, piece, std::get<2>(column.values));
      break;
    case Type::text:
      append_texts(piece, std::get<3>(column.values));
      break;
  }
  append_valid(piece, column, rows_before);
  return fits;
}

// Writes rows [from, from + count) of the column into the vector.
void fill_vector(const Library& api, const Column& column, std::size_t from, std::size_t count, duckdb_vector vector) {
  void* data = api.vector_get_data(vector);
  const auto copy = [&](const auto& values) { std::memcpy(data, values.data() + from, count * sizeof(values[0])); };
  switch (column.type) {
    case Type::boolean:
      copy(column.booleans());
      break;
    case Type::integer:
    case Type::time:
      copy(column.integers());
      break;
    case Type::real:
      copy(column.reals());
      break;
    case Type::text:
      for (std::size_t i = 0; i < count; ++i) {
        const std::string& text = column.texts()[from + i];
        api.vector_assign_string_element_len(vector, i, text.data(), text.size());
      }
      break;
  }
  if (column.valid.empty()) return;
  api.vector_ensure_validity_writable(vector);
  std::uint64_t* validity = api.vector_get_validity(vector);
  for (std::size_t i = 0; i < count; ++i) {
    if (column.valid[from + i] == 0) api.validity_set_row_invalid(validity, i);
  }
}

Result<void> check_utf8(const Column& column) {
  if (column.type != Type::text) return {};
  for (std::size_t row = 0; row < column.size(); ++row) {
    if (first_bad_utf8(column.texts()[row]) == std::string_view::npos) continue;
    return fail(Code::kInvalidArgument, "tables.not_utf8",
                fmt::format("Column '{}', row {} holds bytes that are not UTF-8.", column.name, row + 1),
                "Give text in UTF-8.");
  }
  return {};
}

duckdb_type duckdb_type_of(Type type) {
  switch (type) {
    case Type::boolean:
      return DUCKDB_TYPE_BOOLEAN;
    case Type::integer:
      return DUCKDB_TYPE_BIGINT;
    case Type::real:
      return DUCKDB_TYPE_DOUBLE;
    case Type::time:
      return DUCKDB_TYPE_TIMESTAMP_MS;
    case Type::text:
      break;
  }
  return DUCKDB_TYPE_VARCHAR;
}

Result<Frame> empty_frame(const Library& api, duckdb_result& result, const std::string& query_name,
                          std::vector<duckdb_logical_type>& types) {
  Frame frame;
  for (idx_t i = 0; i < api.column_count(&result); ++i) {
    types.push_back(api.column_logical_type(&result, i));
    const std::string name = api.column_name(&result, i);
    const auto type = frame_type(api.get_type_id(types.back()));
    if (!type) {
      return fail(Code::kInvalidArgument, "tables.type_unknown",
                  fmt::format("Column '{}' of query {} has a type that no frame holds.", name, query_name),
                  "Cast it in the query, for example to VARCHAR.");
    }
    frame.columns.push_back(Column::make(name, *type));
  }
  return frame;
}

Result<void> append_chunk(const Library& api, duckdb_data_chunk chunk, const std::vector<duckdb_logical_type>& types,
                          const std::string& query_name, Frame& frame) {
  const std::size_t rows = api.data_chunk_get_size(chunk);
  for (std::size_t i = 0; i < frame.columns.size(); ++i) {
    const auto vector = api.data_chunk_get_vector(chunk, i);
    const Piece piece{api.vector_get_data(vector), api.vector_get_validity(vector), rows};
    if (!append_piece(api, types[i], piece, frame.columns[i], frame.rows)) {
      return fail(
          Code::kInvalidArgument, "tables.out_of_range",
          fmt::format("Column '{}' of query {} has a whole number past 64 bits.", frame.columns[i].name, query_name),
          "Cast it to DOUBLE in the query.");
    }
  }
  frame.rows += rows;
  return {};
}

}  // namespace

std::optional<Type> frame_type(duckdb_type type) {
  switch (type) {
    case DUCKDB_TYPE_BOOLEAN:
      return Type::boolean;
    case DUCKDB_TYPE_TINYINT:
    case DUCKDB_TYPE_SMALLINT:
    case DUCKDB_TYPE_INTEGER:
    case DUCKDB_TYPE_BIGINT:
    case DUCKDB_TYPE_UTINYINT:
    case DUCKDB_TYPE_USMALLINT:
    case DUCKDB_TYPE_UINTEGER:
    case DUCKDB_TYPE_UBIGINT:
    case DUCKDB_TYPE_HUGEINT:
      return Type::integer;
    case DUCKDB_TYPE_FLOAT:
    case DUCKDB_TYPE_DOUBLE:
    case DUCKDB_TYPE_DECIMAL:
      return Type::real;
    case DUCKDB_TYPE_VARCHAR:
      return Type::text;
    case DUCKDB_TYPE_DATE:
    case DUCKDB_TYPE_TIMESTAMP:
    case DUCKDB_TYPE_TIMESTAMP_S:
    case DUCKDB_TYPE_TIMESTAMP_MS:
    case DUCKDB_TYPE_TIMESTAMP_NS:
    case DUCKDB_TYPE_TIMESTAMP_TZ:
      return Type::time;
    default:
      return std::nullopt;
  }
}

const char* sql_type(Type type) {
  switch (type) {
    case Type::boolean:
      return "BOOLEAN";
    case Type::integer:
      return "BIGINT";
    case Type::real:
      return "DOUBLE";
    case Type::time:
      return "TIMESTAMP_MS";
    case Type::text:
      break;
  }
  return "VARCHAR";
}

Result<Frame> read_answer(const Library& api, Answer& answer, const std::string& query_name, std::int64_t rows_max) {
  std::vector<duckdb_logical_type> types;
  const auto read = [&]() -> Result<Frame> {
    Frame frame = TM_TRY(empty_frame(api, answer.get(), query_name, types));
    Owned<duckdb_data_chunk> chunk(api.destroy_data_chunk);
    while (true) {
      chunk.set(api.fetch_chunk(answer.get()));
      if (chunk.get() == nullptr || api.data_chunk_get_size(chunk.get()) == 0) return frame;
      TM_CHECK(append_chunk(api, chunk.get(), types, query_name, frame));
      if (static_cast<std::int64_t>(frame.rows) > rows_max) {
        return fail(Code::kTooLarge, "tables.too_many_rows",
                    fmt::format("Query {} answers more than {} rows.", query_name, rows_max),
                    "Ask for fewer rows, write them to a file, or raise tables.rows_max.");
      }
    }
  };
  auto frame = read();
  for (auto& type : types) api.destroy_logical_type(&type);
  return frame;
}

Result<void> Session::append(const std::string& table, const Frame& frame) {
  if (const std::string fault = frame_fault(frame); !fault.empty()) {
    return fail(Code::kInternal, "tables.bad_frame", fmt::format("A frame for {} is broken: {}.", table, fault));
  }
  for (const auto& column : frame.columns) TM_CHECK(check_utf8(column));
  Owned<duckdb_appender> appender([](duckdb_appender*) {});
  const auto refused = [&]() -> Result<void> {
    const char* words = appender.get() == nullptr ? nullptr : api_->appender_error(appender.get());
    return fail(duckdb_error("tables.append", words == nullptr ? "rows were refused" : words));
  };
  std::vector<duckdb_logical_type> types;
  for (const auto& column : frame.columns) types.push_back(api_->create_logical_type(duckdb_type_of(column.type)));
  Owned<duckdb_data_chunk> chunk(api_->destroy_data_chunk);
  chunk.set(api_->create_data_chunk(types.data(), types.size()));
  for (auto& type : types) api_->destroy_logical_type(&type);
  const auto fill = [&]() -> Result<void> {
    if (api_->appender_create_ext(connection(), "temp", "main", table.c_str(), appender.out()) != DuckDBSuccess)
      return refused();
    for (std::size_t from = 0; from < frame.rows; from += api_->vector_size()) {
      const std::size_t count = std::min<std::size_t>(api_->vector_size(), frame.rows - from);
      api_->data_chunk_reset(chunk.get());
      for (std::size_t i = 0; i < frame.columns.size(); ++i) {
        fill_vector(*api_, frame.columns[i], from, count, api_->data_chunk_get_vector(chunk.get(), i));
      }
      api_->data_chunk_set_size(chunk.get(), count);
      if (api_->append_data_chunk(appender.get(), chunk.get()) != DuckDBSuccess) return refused();
    }
    return api_->appender_close(appender.get()) == DuckDBSuccess ? Result<void>() : refused();
  };
  auto done = fill();
  if (appender.get() != nullptr) api_->appender_destroy(appender.out());
  return done;
}

}  // namespace tidemill::tables
