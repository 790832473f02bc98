// The room of features: one definition, one engine, for training and for online use. See README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/features/types.h"
#include "storage/kv/kv.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {
class Datasets;
}

namespace tidemill::features {

struct Settings {
  using json_defaults = void;
  std::int64_t push_rows_max = 10'000;       // of one push: kTooLarge past it
  std::int64_t request_rows_max = 100'000;   // of one online request: kTooLarge past it
  std::int64_t slack_ms = 7 * 86'400'000LL;  // how long rows are kept past the last moment that a window can see them
  std::int64_t future_ms_max = 86'400'000;   // rows known later than this after now are refused
};
BOOST_DESCRIBE_STRUCT(Settings, (), (push_rows_max, request_rows_max, slack_ms, future_ms_max))

// All functions may be called from any thread. A `view` is "name" for the newest number (online: the newest that was
// materialized), or "name@number"; kNotFound "features.unknown" when there is none.
class Features {
 public:
  // Makes or updates its tables and begins to load the views that were materialized before, in the background. `kv` is
  // this room's own store.
  [[nodiscard]] static Result<std::unique_ptr<Features>> create(sql::Database& database, events::Events& events,
                                                                const Clock& clock, kv::Kv& kv, tables::Tables& tables,
                                                                datasets::Datasets& datasets, Settings settings = {});
  ~Features();

  // Checks and keeps a definition; the same one again gives the view that is there already. kInvalidArgument
  // "features.invalid" names the field, the value and the remedy: a dataset or column that does not exist, types that
  // do not fit, two columns of one name, a duration that is none. Event features.view_defined.
  [[nodiscard]] Result<View> define(const access::Actor& actor, const NewView& definition);

  [[nodiscard]] Result<View> get(std::string_view view);
  // Returns the newest number of every view, by name.
  [[nodiscard]] Result<std::vector<View>> list();
  // Returns every number of the view, newest first.
  [[nodiscard]] Result<std::vector<View>> versions(std::string_view name);

  // Computes the features of past rows as an online request at their time would have got them. O(n log n) in the rows
  // of population and sources, which are held in memory. kInvalidArgument for unknown columns and an empty span.
  [[nodiscard]] Result<TrainingSet> training_set(const TrainingSpec& spec);

  // The built-in step `features.training_set`. `with`: view, dataset, from, to (milliseconds or RFC 3339 text), and
  // optionally id (default: the dataset's keys), label, label_known, known_by, versions {dataset: number}, split (a
  // time) and outputs {train: "train.parquet", newest: "newest.parquet"}. Writes rows asked in [from, split) to `train`
  // and those in [split, to) to `newest`; without split all go to `train`. Returns what lineage and training need:
  // {view, number, rows, positives, train_rows, newest_rows, unlabelled, from_ms, split_ms?, to_ms, known_by_ms, label,
  // id, columns: [{name, type, kind, categories}], datasets: [{dataset, number}]}.
  [[nodiscard]] Result<json::Object> training_set_step(const json::Object& with, const std::filesystem::path& outputs);

  // Loads the newest versions (or those given) of the view's datasets into the online store: whatever its lookups,
  // as-of joins and windows can still see at and after the newest row. Repeatable. Event features.materialized.
  [[nodiscard]] Result<Materialized> materialize(const access::Actor& actor, std::string_view view,
                                                 const std::map<std::string, std::int64_t>& versions = {});

  // Keeps rows of a dataset for online use; when it returns they are on disk, and every online() that begins later sees
  // them. Rows are objects by column name; times are milliseconds or RFC 3339 text. The same row again is counted, not
  // kept twice; kConflict when it has the same id and knowledge time but other values. kFailedPrecondition when no view
  // reads the dataset. All rows or none.
  [[nodiscard]] Result<Pushed> push(std::string_view dataset, const json::Array& rows);

  // Returns the view's columns for each row of `request`, which has all of the view's request columns; other columns
  // are ignored. The time of a row stands in the view's `at` column, where it is there, and is now otherwise. Touches
  // memory alone: about a microsecond a row. kInvalidArgument for a request column that is not there or does not fit,
  // kFailedPrecondition for a view that was never materialized, or a time so early that its rows have been dropped.
  [[nodiscard]] Result<tables::Frame> online(std::string_view view, const tables::Frame& request) const;
  // The same with a time for each row; `at_ms` has as many as `request` has rows.
  [[nodiscard]] Result<tables::Frame> online(std::string_view view, const tables::Frame& request,
                                             std::span<const std::int64_t> at_ms) const;

  // Turns rows by column name into the frame that online() takes; what a row does not name is missing. kInvalidArgument
  // names row and column.
  [[nodiscard]] Result<tables::Frame> request_frame(std::string_view view, const json::Array& rows) const;

 private:
  class Impl;
  explicit Features(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::features
