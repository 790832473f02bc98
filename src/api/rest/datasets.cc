#include "api/rest/datasets.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace tidemill::rest {
namespace {

using access::Right;
using datasets::Datasets;

constexpr std::int64_t kPageRows = 100;

struct DatasetList {
  std::vector<datasets::Dataset> datasets;
};
BOOST_DESCRIBE_STRUCT(DatasetList, (), (datasets))

struct RulesBody {
  std::vector<datasets::Rule> rules;
};
BOOST_DESCRIBE_STRUCT(RulesBody, (), (rules))

struct ColumnsBody {
  std::vector<datasets::ColumnType> columns;
};
BOOST_DESCRIBE_STRUCT(ColumnsBody, (), (columns))

struct VersionList {
  std::vector<datasets::VersionLine> versions;
};
BOOST_DESCRIBE_STRUCT(VersionList, (), (versions))

struct UploadQuery {
  std::optional<datasets::Mode> mode;
  std::optional<std::string> filename;
  std::optional<datasets::Encoding> encoding;  // of CSV
};
BOOST_DESCRIBE_STRUCT(UploadQuery, (), (mode, filename, encoding))

struct RowsQuery {
  std::optional<std::int64_t> offset;
  std::optional<std::int64_t> limit;
};
BOOST_DESCRIBE_STRUCT(RowsQuery, (), (offset, limit))

struct RowsPage {
  json::Array rows;
  std::int64_t offset = 0;
  std::optional<std::string> next;  // the offset of the page after this
};
BOOST_DESCRIBE_STRUCT(RowsPage, (), (rows, offset, next))

// JSON has no NaN and no infinity, and a preview must not make them missing: they are words.
json::Value real_value(double value) {
  if (std::isfinite(value)) return value;
  if (std::isnan(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

json::Value cell(const tables::Column& column, std::size_t row) {
  if (column.is_missing(row)) return nullptr;
  switch (column.type) {
    case tables::Type::boolean:
      return column.booleans()[row] != 0;
    case tables::Type::integer:
      return column.integers()[row];
    case tables::Type::time:
      return json::to_json(format_utc(column.integers()[row]));
    case tables::Type::real:
      return real_value(column.reals()[row]);
    case tables::Type::text:
      break;
  }
  return json::to_json(column.texts()[row]);
}

Result<RowsPage> rows_of(Datasets& room, const http::Request& request, const RowsQuery& query) {
  const std::int64_t number = TM_TRY(request.number_param("number"));
  RowsPage page{{}, query.offset.value_or(0), std::nullopt};
  const std::int64_t limit = query.limit.value_or(kPageRows);
  const auto frame = TM_TRY(room.rows(request.param("name"), number, page.offset, limit));
  for (std::size_t row = 0; row < frame.rows; ++row) {
    json::Object object;
    for (const auto& column : frame.columns) object[column.name] = cell(column, row);
    page.rows.emplace_back(std::move(object));
  }
  if (limit > 0 && static_cast<std::int64_t>(frame.rows) == limit) page.next = std::to_string(page.offset + limit);
  return page;
}

Result<datasets::Version> add_version(Datasets& room, const http::Request& request) {
  const auto query = TM_TRY(http::decode_query<UploadQuery>(request.query));
  return room.add_version(
      request.actor, request.param("name"),
      {request.body_file, query.filename.value_or("upload"), query.mode.value_or(datasets::Mode::append),
       query.encoding.value_or(datasets::Encoding::utf8)});
}

Result<datasets::Version> version_of(Datasets& room, const http::Request& request) {
  if (request.param("number") == "latest") return room.latest(request.param("name"));
  return room.version(request.param("name"), TM_TRY(request.number_param("number")));
}

Result<datasets::Diff> diff_of(Datasets& room, const http::Request& request) {
  return room.diff(request.param("name"), TM_TRY(request.number_param("number")),
                   TM_TRY(request.number_param("other")));
}

void add_dataset_routes(std::vector<http::Route>& routes, Datasets& room) {
  routes.push_back(http::get<DatasetList>(
      "/api/datasets", Right::read, "List datasets",
      [&room](const http::Request&) -> Result<DatasetList> { return DatasetList{TM_TRY(room.list())}; }));
  routes.push_back(http::post<datasets::NewDataset, datasets::Dataset>(
      "/api/datasets", Right::write, "Make a dataset, without data as yet",
      [&room](const http::Request& request, const datasets::NewDataset& body) { return room.add(request.actor, body); },
      {.status = 201}));
  routes.push_back(
      http::get<datasets::Dataset>("/api/datasets/{name}", Right::read, "Show a dataset",
                                   [&room](const http::Request& request) { return room.get(request.param("name")); }));
  routes.push_back(http::put<RulesBody, datasets::Dataset>(
      "/api/datasets/{name}/rules", Right::write, "Replace the rules, for uploads from now on",
      [&room](const http::Request& request, RulesBody body) {
        return room.set_rules(request.actor, request.param("name"), std::move(body.rules));
      }));
  routes.push_back(http::put<ColumnsBody, datasets::Dataset>(
      "/api/datasets/{name}/columns", Right::write, "Replace the declared types, for uploads from now on",
      [&room](const http::Request& request, ColumnsBody body) {
        return room.set_columns(request.actor, request.param("name"), std::move(body.columns));
      }));
}

void add_version_routes(std::vector<http::Route>& routes, Datasets& room) {
  routes.push_back(http::get<VersionList>("/api/datasets/{name}/versions", Right::read, "List versions, newest first",
                                          [&room](const http::Request& request) -> Result<VersionList> {
                                            return VersionList{TM_TRY(room.versions(request.param("name")))};
                                          }));
  auto upload = http::upload<datasets::Version>(
      http::Method::post, "/api/datasets/{name}/versions", Right::write,
      "Add a version from a CSV or Parquet file; refused when it breaks a rule",
      [&room](const http::Request& request) { return add_version(room, request); }, {.status = 201});
  upload.query_schema = [](json::Schemas& schemas) { return json::schema_of<UploadQuery>(schemas); };
  routes.push_back(std::move(upload));
  routes.push_back(
      http::get<datasets::Version>("/api/datasets/{name}/versions/{number}", Right::read,
                                   "Show a version, or the latest, with schema, profile and quality",
                                   [&room](const http::Request& request) { return version_of(room, request); }));
  routes.push_back(http::get_query<RowsQuery, RowsPage>(
      "/api/datasets/{name}/versions/{number}/rows", Right::read, "Look at rows",
      [&room](const http::Request& request, const RowsQuery& query) { return rows_of(room, request, query); }));
  routes.push_back(http::get<datasets::Diff>("/api/datasets/{name}/versions/{number}/diff/{other}", Right::read,
                                             "Compare two versions: rows, schema, distributions",
                                             [&room](const http::Request& request) { return diff_of(room, request); }));
}

}  // namespace

std::vector<http::Route> datasets_routes(Datasets& datasets) {
  std::vector<http::Route> routes;
  add_dataset_routes(routes, datasets);
  add_version_routes(routes, datasets);
  return routes;
}

}  // namespace tidemill::rest
