// Training sets: the features of past rows as they would have been answered then. Private to the room.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/features/types.h"
#include "storage/tables/tables.h"

namespace tidemill::features {

// Reads columns of dataset versions, and remembers which versions were read.
class DatasetReader {
 public:
  // `versions` says which version of a dataset is read; others are read in their newest.
  DatasetReader(datasets::Datasets& datasets, tables::Tables& tables, std::map<std::string, std::int64_t> versions)
      : datasets_(datasets), tables_(tables), versions_(std::move(versions)) {}

  // Returns all rows, in order. Errors of Datasets and Tables.
  [[nodiscard]] Result<tables::Frame> read(const std::string& dataset, const std::vector<std::string>& columns);
  // Returns the version number that is read.
  [[nodiscard]] Result<std::int64_t> number(const std::string& dataset);
  [[nodiscard]] std::vector<DatasetRef> used() const;

 private:
  datasets::Datasets& datasets_;
  tables::Tables& tables_;
  std::map<std::string, std::int64_t> versions_;
  std::map<std::string, std::int64_t> used_;
};

// As Features::training_set, for a spec whose view is `view`.
[[nodiscard]] Result<TrainingSet> make_training_set(const View& view, const TrainingSpec& spec, DatasetReader& reader);

// Returns the rows of `frame` at `rows`, in that order.
[[nodiscard]] tables::Frame pick_rows(const tables::Frame& frame, const std::vector<std::size_t>& rows);

// What the built-in step is told; see Features::training_set_step.
struct StepFiles {
  using json_defaults = void;
  std::string train = "train.parquet";
  std::string newest = "newest.parquet";
};
BOOST_DESCRIBE_STRUCT(StepFiles, (), (train, newest))

struct StepSpec {
  TrainingSpec training;
  std::optional<std::int64_t> split_ms;
  StepFiles outputs;
};
// kInvalidArgument names the field of `with`.
[[nodiscard]] Result<StepSpec> parse_step(const json::Object& with);

// Writes the files of the step below `outputs` and returns its result.
[[nodiscard]] Result<json::Object> write_step(const TrainingSet& set, const StepSpec& spec, tables::Tables& tables,
                                              const std::filesystem::path& outputs);

}  // namespace tidemill::features
