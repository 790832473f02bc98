#include "flow/datasets/store.h"

#include <fmt/format.h>

#include "base/json.h"

namespace tidemill::datasets {
namespace {

constexpr sql::Query kInsert{"datasets.insert",
                             "INSERT INTO datasets (name, content, made_by, made_ms) VALUES (?1, ?2, ?3, ?4)"};
constexpr sql::Query kFind{"datasets.find",
                           "SELECT content, latest, rows, made_by, made_ms FROM datasets WHERE name = ?1"};
constexpr sql::Query kAll{"datasets.all", "SELECT content, latest, rows, made_by, made_ms FROM datasets ORDER BY name"};
constexpr sql::Query kUpdate{"datasets.update", "UPDATE datasets SET content = ?2 WHERE name = ?1"};
constexpr sql::Query kAdvance{"datasets.advance",
                              "UPDATE datasets SET latest = ?2, rows = ?3 WHERE name = ?1 AND latest = ?2 - 1"};
constexpr sql::Query kInsertVersion{"datasets.insert_version",
                                    "INSERT INTO dataset_versions (dataset, number, mode, rows, rows_added, bytes, "
                                    "bytes_new, digest, made_by, made_ms, content)"
                                    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"};
constexpr sql::Query kFindVersion{
    "datasets.find_version",
    "SELECT dataset, number, mode, rows, rows_added, bytes, bytes_new, digest, made_by, made_ms, content"
    " FROM dataset_versions WHERE dataset = ?1 AND number = ?2"};
constexpr sql::Query kAllVersions{
    "datasets.all_versions",
    "SELECT dataset, number, mode, rows, rows_added, bytes, bytes_new, digest, made_by, made_ms"
    " FROM dataset_versions WHERE dataset = ?1 ORDER BY number DESC"};

// What a version's column `content` holds.
struct Content {
  std::vector<Part> parts;
  std::vector<ColumnType> schema;
  Profile profile;
  Quality quality;
};
BOOST_DESCRIBE_STRUCT(Content, (), (parts, schema, profile, quality))

struct Row {
  std::string content;
  Dataset dataset;
};

Row read_row(const sql::Row& row) {
  Row read{row.string(0), {}};
  read.dataset.latest = row.integer(1);
  read.dataset.rows = row.integer(2);
  read.dataset.made_by = row.string(3);
  read.dataset.made_ms = row.integer(4);
  return read;
}

Result<Dataset> unpack(Row row) {
  auto content = TM_TRY(json::decode<NewDataset>(row.content));
  Dataset& dataset = row.dataset;
  dataset.name = std::move(content.name);
  dataset.description = std::move(content.description);
  dataset.owner = std::move(content.owner);
  dataset.keys = std::move(content.keys);
  dataset.columns = std::move(content.columns);
  dataset.missing = std::move(content.missing);
  dataset.rules = std::move(content.rules);
  return std::move(dataset);
}

template <class Line>
void read_line(const sql::Row& row, Line& line) {
  line.dataset = row.string(0);
  line.number = row.integer(1);
  line.mode = row.enumerator<Mode>(2);
  line.rows = row.integer(3);
  line.rows_added = row.integer(4);
  line.bytes = row.integer(5);
  line.bytes_new = row.integer(6);
  line.digest = row.string(7);
  line.made_by = row.string(8);
  line.made_ms = row.integer(9);
}

}  // namespace

Result<void> insert_dataset(sql::Tx& tx, const NewDataset& dataset, std::string_view made_by, std::int64_t made_ms) {
  auto inserted = tx.exec(kInsert, dataset.name, json::encode(dataset), made_by, made_ms);
  if (inserted) return {};
  if (inserted.error().code != Code::kAlreadyExists) return fail(std::move(inserted).error());
  return fail(Code::kAlreadyExists, "datasets.name_taken",
              fmt::format("There is a dataset '{}' already.", dataset.name),
              "Choose another name, or add a version to that one.", {{"dataset", dataset.name}});
}

Result<Dataset> find_dataset(sql::Tx& tx, std::string_view name) {
  auto row = TM_TRY(tx.one<Row>(kFind, read_row, name));
  if (row) return unpack(*std::move(row));
  return fail(Code::kNotFound, "datasets.unknown", fmt::format("There is no dataset '{}'.", name.substr(0, 128)),
              "GET /api/datasets lists them.", {{"dataset", std::string(name.substr(0, 128))}});
}

Result<std::vector<Dataset>> all_datasets(sql::Tx& tx) {
  std::vector<Dataset> datasets;
  for (auto& row : TM_TRY(tx.all<Row>(kAll, read_row))) datasets.push_back(TM_TRY(unpack(std::move(row))));
  return datasets;
}

Result<void> update_dataset(sql::Tx& tx, const Dataset& dataset) {
  const NewDataset content{dataset.name,    dataset.description, dataset.owner, dataset.keys,
                           dataset.columns, dataset.missing,     dataset.rules};
  TM_CHECK(tx.exec(kUpdate, dataset.name, json::encode(content)));
  return {};
}

Result<void> insert_version(sql::Tx& tx, const Version& version) {
  if (TM_TRY(tx.exec(kAdvance, version.dataset, version.number, version.rows)) != 1) {
    return fail(Code::kConflict, "datasets.version_conflict",
                fmt::format("Dataset '{}' got another version {} meanwhile.", version.dataset, version.number),
                "Send the upload again.");
  }
  const Content content{version.parts, version.schema, version.profile, version.quality};
  TM_CHECK(tx.exec(kInsertVersion, version.dataset, version.number, version.mode, version.rows, version.rows_added,
                   version.bytes, version.bytes_new, version.digest, version.made_by, version.made_ms,
                   json::encode(content)));
  return {};
}

Result<Version> find_version(sql::Tx& tx, std::string_view dataset, std::int64_t number) {
  std::string content;
  auto version = TM_TRY(tx.one<Version>(
      kFindVersion,
      [&](const sql::Row& row) {
        Version read;
        read_line(row, read);
        content = row.string(10);
        return read;
      },
      dataset, number));
  if (!version) {
    TM_CHECK(find_dataset(tx, dataset));
    return fail(Code::kNotFound, "datasets.no_version", fmt::format("Dataset '{}' has no version {}.", dataset, number),
                fmt::format("GET /api/datasets/{}/versions lists them.", dataset));
  }
  auto unpacked = TM_TRY(json::decode<Content>(content));
  version->parts = std::move(unpacked.parts);
  version->schema = std::move(unpacked.schema);
  version->profile = std::move(unpacked.profile);
  version->quality = std::move(unpacked.quality);
  return *std::move(version);
}

Result<std::vector<VersionLine>> all_versions(sql::Tx& tx, std::string_view dataset) {
  TM_CHECK(find_dataset(tx, dataset));
  return tx.all<VersionLine>(
      kAllVersions,
      [](const sql::Row& row) {
        VersionLine line;
        read_line(row, line);
        return line;
      },
      dataset);
}

}  // namespace tidemill::datasets
