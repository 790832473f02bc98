// The room of datasets. See README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/datasets/types.h"
#include "storage/blobs/store.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

struct Settings {
  using json_defaults = void;
  std::int64_t rules_max = 256;
  std::int64_t values_max = 10'000;       // of a one_of rule
  std::int64_t columns_max = 4096;        // of a version
  std::int64_t cell_bytes_max = 1 << 20;  // of a CSV cell
  std::int64_t examples_max = 10;         // rows that a broken rule names
  std::int64_t page_rows_max = 1000;      // of one page of rows
  std::int64_t diff_rows_max = 20'000'000;
};
BOOST_DESCRIBE_STRUCT(Settings, (),
                      (rules_max, values_max, columns_max, cell_bytes_max, examples_max, page_rows_max, diff_rows_max))

// All functions may be called from any thread.
class Datasets {
 public:
  // Makes or updates its tables. `cache` is a folder of this room's own beneath one that `tables` may read; what lies
  // there can be made again from the blobs and may be deleted while the server is down.
  [[nodiscard]] static Result<std::unique_ptr<Datasets>> create(sql::Database& database, events::Events& events,
                                                                const Clock& clock, blobs::Store& blobs,
                                                                tables::Tables& tables, std::filesystem::path cache,
                                                                Settings settings = {});
  ~Datasets();

  // Makes a dataset without versions. kInvalidArgument for a bad name or rule, kAlreadyExists when the name is taken.
  // Event datasets.created.
  [[nodiscard]] Result<Dataset> add(const access::Actor& actor, const NewDataset& dataset);
  [[nodiscard]] Result<Dataset> get(std::string_view name);
  // Returns all, by name.
  [[nodiscard]] Result<std::vector<Dataset>> list();

  // Replaces the rules, or the declared types, for uploads from now on; versions that are there stay as they are.
  // Events datasets.rules_changed, datasets.columns_changed with before and after.
  [[nodiscard]] Result<Dataset> set_rules(const access::Actor& actor, std::string_view name, std::vector<Rule> rules);
  [[nodiscard]] Result<Dataset> set_columns(const access::Actor& actor, std::string_view name,
                                            std::vector<ColumnType> columns);

  // Reads, checks and keeps an upload as the next version, durably and whole: after an error nothing of it stays.
  // Errors of the data are kInvalidArgument (malformed, "csv.…"; "datasets.schema_mismatch" naming column and row;
  // "datasets.no_rows") or kFailedPrecondition "datasets.rule_broken" with rule, failed_rows and the first rows in its
  // details; each also leaves the event datasets.version_refused. kConflict when another version came first. The same
  // bytes again (append: as any part of the newest version; replace: as its only part) add nothing and return that
  // version, so that a repeated request does no harm. Event datasets.version_added.
  [[nodiscard]] Result<Version> add_version(const access::Actor& actor, std::string_view name, const Upload& upload);

  [[nodiscard]] Result<Version> version(std::string_view name, std::int64_t number);
  // Returns the newest version; kNotFound "datasets.no_version" when there is none.
  [[nodiscard]] Result<Version> latest(std::string_view name);
  // Returns all, newest first.
  [[nodiscard]] Result<std::vector<VersionLine>> versions(std::string_view name);

  // Returns the version's rows as Parquet files with exactly its schema, in row order: read-only, owned by this room,
  // made when they are not there and checked against their recorded hash once a process. Kept as long as the server
  // runs.
  [[nodiscard]] Result<std::vector<std::filesystem::path>> materialize(std::string_view name, std::int64_t number);

  // Returns rows [offset, offset + limit) of the version; kTooLarge past page_rows_max.
  [[nodiscard]] Result<tables::Frame> rows(std::string_view name, std::int64_t number, std::int64_t offset,
                                           std::int64_t limit);

  // Compares two versions: rows, schema, distributions. kTooLarge when they have more than diff_rows_max rows together.
  [[nodiscard]] Result<Diff> diff(std::string_view name, std::int64_t from, std::int64_t to);

 private:
  friend class Adding;
  class Impl;
  explicit Datasets(std::unique_ptr<Impl> impl);

  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::datasets
