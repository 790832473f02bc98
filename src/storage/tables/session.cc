#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/ids.h"
#include "storage/tables/engine.h"

namespace tidemill::tables {
namespace {

constexpr std::size_t kIdentifierBytesMax = 1024;

class Value {
 public:
  Value(const Library& api, const Param& param) : api_(api) {
    if (const auto* list = std::get_if<std::vector<std::string>>(&param)) {
      make_list(*list);
    } else if (const auto* flag = std::get_if<bool>(&param)) {
      value_ = api.create_bool(*flag);
    } else if (const auto* whole = std::get_if<std::int64_t>(&param)) {
      value_ = api.create_int64(*whole);
    } else if (const auto* real = std::get_if<double>(&param)) {
      value_ = api.create_double(*real);
    } else if (const auto* text = std::get_if<std::string>(&param)) {
      value_ = api.create_varchar_length(text->data(), text->size());
    } else {
      value_ = api.create_null_value();
    }
  }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  ~Value() {
    if (value_ != nullptr) api_.destroy_value(&value_);
  }
  [[nodiscard]] duckdb_value get() const { return value_; }

 private:
  void make_list(const std::vector<std::string>& texts) {
    std::vector<duckdb_value> items;
    items.reserve(texts.size());
    for (const auto& text : texts) items.push_back(api_.create_varchar_length(text.data(), text.size()));
    duckdb_logical_type type = api_.create_logical_type(DUCKDB_TYPE_VARCHAR);
    value_ = api_.create_list_value(type, items.data(), items.size());
    api_.destroy_logical_type(&type);
    for (auto& item : items) api_.destroy_value(&item);
  }

  const Library& api_;
  duckdb_value value_ = nullptr;
};

}  // namespace

Result<std::string> quote_identifier(std::string_view name) {
  if (name.empty() || name.size() > kIdentifierBytesMax || name.find('\0') != std::string_view::npos) {
    return fail(Code::kInvalidArgument, "tables.bad_name",
                fmt::format("'{}' cannot name a column.", std::string(name.substr(0, 64))),
                fmt::format("Use 1 to {} bytes without NUL.", kIdentifierBytesMax));
  }
  std::string quoted = "\"";
  for (const char c : name) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

Result<std::string> quote_literal(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    return fail(Code::kInvalidArgument, "paths.refused", "A path has a NUL.", "Leave it out.");
  }
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? "''" : std::string(1, c);
  return quoted + "'";
}

Session::Session(Engine& engine, std::shared_ptr<const Library> api)
    : engine_(&engine), api_(std::move(api)), connection_(api_->disconnect) {}

Session::Session(Session&& other) noexcept
    : engine_(std::exchange(other.engine_, nullptr)),
      api_(std::move(other.api_)),
      connection_(std::move(other.connection_)) {}

Session::~Session() {
  connection_.reset();
  if (engine_ != nullptr) engine_->leave();
}

Result<void> Session::bind(duckdb_prepared_statement statement, const NamedSql& sql, const std::vector<Param>& params) {
  if (const auto wanted = api_->nparams(statement); wanted != params.size()) {
    return fail(Code::kInternal, "tables.wrong_parameters",
                fmt::format("Query {} takes {} values, {} were given.", sql.name, wanted, params.size()));
  }
  for (std::size_t i = 0; i < params.size(); ++i) {
    const Value value(*api_, params[i]);
    if (value.get() == nullptr || api_->bind_value(statement, i + 1, value.get()) != DuckDBSuccess) {
      return fail(Code::kInvalidArgument, "tables.refused",
                  fmt::format("Query {} does not take value {}; text must be UTF-8.", sql.name, i + 1),
                  "Correct the value.");
    }
  }
  return {};
}

Result<Answer> Session::run(const NamedSql& sql, const std::vector<Param>& params) {
  Owned<duckdb_prepared_statement> statement(api_->destroy_prepare);
  engine_->watch(connection());
  const auto finish = [&]() -> Result<Answer> {
    if (api_->prepare(connection(), sql.text.c_str(), statement.out()) != DuckDBSuccess) {
      const char* words = api_->prepare_error(statement.get());
      return fail(duckdb_error(sql.name, words == nullptr ? "it cannot be prepared" : words));
    }
    TM_CHECK(bind(statement.get(), sql, params));
    Answer answer(*api_);
    if (api_->execute_prepared(statement.get(), answer.fill()) != DuckDBSuccess) {
      const char* words = api_->result_error(&answer.get());
      return fail(duckdb_error(sql.name, words == nullptr ? "unknown reason" : words));
    }
    return answer;
  };
  auto result = finish();
  engine_->unwatch(connection());
  return result;
}

Result<void> Session::make_table(const std::string& name, const std::vector<ColumnType>& columns) {
  std::string list;
  for (const auto& column : columns) {
    list += (list.empty() ? "" : ", ") + TM_TRY(quote_identifier(column.name)) + " " + sql_type(column.type);
  }
  // sql: names of tables and columns cannot be bound
  TM_CHECK(run({"tables.make", fmt::format("CREATE TEMP TABLE {} ({})", TM_TRY(quote_identifier(name)), list)}));
  return {};
}

Result<void> Session::lend(const NamedFrame& frame) {
  std::vector<ColumnType> columns;
  for (const auto& column : frame.frame->columns) columns.push_back({column.name, column.type});
  TM_CHECK(make_table(frame.name, columns));
  return append(frame.name, *frame.frame);
}

Result<std::int64_t> Session::copy(const NamedSql& sql, const std::vector<Param>& params,
                                   const std::filesystem::path& path) {
  std::filesystem::path temporary = path;
  temporary += "." + generate_hex_id() + ".tmp";
  const auto finish = [&]() -> Result<std::int64_t> {
    // sql: COPY takes neither a bound query nor a bound path
    const std::string text = fmt::format("COPY ({}) TO {} (FORMAT parquet, COMPRESSION zstd)", sql.text,
                                         TM_TRY(quote_literal(std::filesystem::absolute(temporary).string())));
    Answer answer = TM_TRY(run({sql.name, text}, params));
    const auto rows = static_cast<std::int64_t>(api_->rows_changed(&answer.get()));
    const FileDescriptor file(::open(temporary.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.open()) return fail(errno_error("open", temporary, errno));
    TM_CHECK(sync_file(file.get(), temporary));
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail(errno_error("rename to", path, errno));
    TM_CHECK(sync_folder(path.has_parent_path() ? path.parent_path() : "."));
    return rows;
  };
  auto rows = finish();
  if (!rows) ::unlink(temporary.c_str());
  return rows;
}

}  // namespace tidemill::tables
