#include "flow/models/rows.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <string_view>

#include "base/hash.h"

namespace tidemill::models {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

bool is_parquet(const std::filesystem::path& file) {
  std::array<char, 4> magic{};
  std::ifstream in(file, std::ios::binary);
  in.read(magic.data(), magic.size());
  return in.gcount() == 4 && std::string_view(magic.data(), magic.size()) == "PAR1";
}

Result<void> check_columns(const std::vector<std::string>& wanted, const std::vector<tables::ColumnType>& there,
                           const std::filesystem::path& file) {
  for (const std::string& name : wanted) {
    bool found = false;
    for (const auto& column : there) found = found || column.name == name;
    if (!found) {
      return fail(Code::kInvalidArgument, "models.column_missing",
                  fmt::format("The rows of '{}' have no column '{}'.", file.filename().string(), name),
                  "Give every column that the model takes, and the label.");
    }
  }
  return {};
}

}  // namespace

Result<tables::Frame> read_rows(tables::Tables& tables, const std::filesystem::path& file,
                                const std::vector<std::string>& columns) {
  if (!is_parquet(file)) return tables.read_files({file}, columns);
  TM_CHECK(check_columns(columns, TM_TRY(tables.parquet_columns(file)), file));
  std::string list;
  for (const std::string& name : columns) list += (list.empty() ? "" : ", ") + TM_TRY(tables::quote_identifier(name));
  // sql: column names cannot be bound; each is quoted above
  return tables.query({"models.rows", fmt::format("SELECT {} FROM read_parquet($1)", list)}, {tables::texts({file})});
}

Result<std::string> file_digest(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return fail(Code::kNotFound, "models.no_file", fmt::format("'{}' cannot be read.", file.filename().string()),
                "Name a file that is there.");
  }
  Sha256 hash;
  std::vector<char> buffer(kReadBytes);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0) {
    hash.update({buffer.data(), static_cast<std::size_t>(in.gcount())});
  }
  return to_hex(hash.finish());
}

}  // namespace tidemill::models
