#include <utility>

#include "storage/sql/connection.h"
#include "storage/sql/database.h"

namespace tidemill::sql {

bool Row::is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
std::int64_t Row::integer(int column) const { return sqlite3_column_int64(statement_, column); }
double Row::real(int column) const { return sqlite3_column_double(statement_, column); }

std::string_view Row::text(int column) const {
  const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Row::blob(int column) const {
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement_, column));
  if (bytes == nullptr) return {};
  return {bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Tx::Statement& Tx::Statement::operator=(Statement&& other) noexcept {
  std::swap(handle, other.handle);
  std::swap(query, other.query);
  std::swap(connection, other.connection);
  return *this;
}

Tx::Statement::~Statement() {
  if (handle != nullptr) connection->give_back(*query, handle);
}

Result<Tx::Statement> Tx::prepare(const Query& query) {
  Statement statement;
  statement.handle = TM_TRY(connection_.lend(query));
  statement.query = &query;
  statement.connection = &connection_;
  return statement;
}

Result<bool> Tx::step(Statement& statement) {
  switch (sqlite3_step(statement.handle)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return fail(connection_.error(statement.query->name));
  }
}

Result<std::int64_t> Tx::run(Statement& statement) {
  while (TM_TRY(step(statement))) {
  }
  return sqlite3_changes64(connection_.handle());
}

std::int64_t Tx::last_row_id() const { return sqlite3_last_insert_rowid(connection_.handle()); }

void Tx::bind_value(Statement& statement, int index, const Value& value) {
  std::visit(
      [&](const auto& held) {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, std::monostate>) {
          bind_null(statement, index);
        } else {
          bind(statement, index, held);
        }
      },
      value);
}
void Tx::bind_null(Statement& statement, int index) { sqlite3_bind_null(statement.handle, index); }
void Tx::bind_integer(Statement& statement, int index, std::int64_t value) {
  sqlite3_bind_int64(statement.handle, index, value);
}
void Tx::bind_real(Statement& statement, int index, double value) {
  sqlite3_bind_double(statement.handle, index, value);
}
void Tx::bind_text(Statement& statement, int index, std::string_view value) {
  // An empty view may point nowhere, which SQLite would take for NULL.
  sqlite3_bind_text64(statement.handle, index, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
}
void Tx::bind_blob(Statement& statement, int index, std::string_view value) {
  sqlite3_bind_blob64(statement.handle, index, value.empty() ? "" : value.data(), value.size(), SQLITE_TRANSIENT);
}

}  // namespace tidemill::sql
