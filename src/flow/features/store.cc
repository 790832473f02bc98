#include "flow/features/store.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/json.h"

namespace tidemill::features {
namespace {

constexpr sql::Query kInsert{"features.insert",
                             "INSERT INTO feature_views (name, number, content) VALUES (?1, ?2, ?3)"};
constexpr sql::Query kGet{"features.get", "SELECT content FROM feature_views WHERE name = ?1 AND number = ?2"};
constexpr sql::Query kNewest{"features.newest",
                             "SELECT content FROM feature_views WHERE name = ?1 ORDER BY number DESC LIMIT 1"};
constexpr sql::Query kNewestOfAll{
    "features.newest_of_all",
    "SELECT content FROM feature_views v WHERE number = (SELECT max(number) FROM feature_views WHERE name = v.name)"
    " ORDER BY name"};
constexpr sql::Query kAll{"features.all", "SELECT content FROM feature_views ORDER BY name, number"};
constexpr sql::Query kVersions{"features.versions",
                               "SELECT content FROM feature_views WHERE name = ?1 ORDER BY number DESC"};
constexpr sql::Query kPutMaterialized{
    "features.put_materialized",
    "INSERT OR REPLACE INTO feature_materializations (name, number, content, at_ms) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kMaterialized{"features.materialized", "SELECT name, number FROM feature_materializations"};

std::string read_content(const sql::Row& row) { return row.string(0); }

template <class... Args>
Result<std::vector<View>> views(sql::Tx& tx, const sql::Query& query, const Args&... args) {
  std::vector<View> out;
  for (const std::string& content : TM_TRY(tx.all<std::string>(query, read_content, args...))) {
    out.push_back(TM_TRY(json::decode<View>(content)));
  }
  return out;
}

}  // namespace

Result<ViewName> parse_view_name(std::string_view text) {
  const std::size_t at = text.find('@');
  ViewName out{std::string(text.substr(0, at)), std::nullopt};
  if (at == std::string_view::npos) return out;
  const std::string_view digits = text.substr(at + 1);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 1) {
    return fail(Code::kInvalidArgument, "features.bad_name",
                fmt::format("'{}' names no feature view.", text.substr(0, 160)),
                "Write the name alone for its newest number, or name@number such as flights@2.");
  }
  out.number = number;
  return out;
}

Result<void> insert_view(sql::Tx& tx, const View& view) {
  TM_TRY(tx.exec(kInsert, view.name, view.number, json::encode(view)));
  return {};
}

Result<View> get_view(sql::Tx& tx, const ViewName& name) {
  const auto content = name.number ? TM_TRY(tx.one<std::string>(kGet, read_content, name.name, *name.number))
                                   : TM_TRY(tx.one<std::string>(kNewest, read_content, name.name));
  if (!content) {
    const std::string number = name.number ? fmt::format("@{}", *name.number) : "";
    return fail(Code::kNotFound, "features.unknown",
                fmt::format("There is no feature view '{}{}'.", name.name.substr(0, 128), number),
                "GET /api/features lists them.");
  }
  return json::decode<View>(*content);
}

Result<std::optional<View>> newest_view(sql::Tx& tx, std::string_view name) {
  const auto content = TM_TRY(tx.one<std::string>(kNewest, read_content, name));
  if (!content) return std::optional<View>();
  return std::optional<View>(TM_TRY(json::decode<View>(*content)));
}

Result<std::vector<View>> newest_views(sql::Tx& tx) { return views(tx, kNewestOfAll); }
Result<std::vector<View>> all_views(sql::Tx& tx) { return views(tx, kAll); }

Result<std::vector<View>> view_versions(sql::Tx& tx, std::string_view name) {
  std::vector<View> out = TM_TRY(views(tx, kVersions, name));
  if (out.empty()) return std::unexpected(get_view(tx, {std::string(name), std::nullopt}).error());
  return out;
}

Result<void> put_materialized(sql::Tx& tx, const Materialized& materialized, std::int64_t at_ms) {
  TM_TRY(tx.exec(kPutMaterialized, materialized.view, materialized.number, json::encode(materialized), at_ms));
  return {};
}

Result<std::vector<std::string>> materialized_views(sql::Tx& tx) {
  return tx.all<std::string>(kMaterialized,
                             [](const sql::Row& row) { return fmt::format("{}@{}", row.text(0), row.integer(1)); });
}

}  // namespace tidemill::features
