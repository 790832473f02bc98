// Experiments, runs, and what runs keep.
#pragma once

#include <boost/describe.hpp>
#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/enums.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/result.h"

namespace tidemill::runs {

struct RunTag {
  static constexpr const char* kNoun = "runs";
};
using RunId = Id<RunTag>;

// Experiments are numbered; 0 is "Default", which is always there.
class ExperimentId {
 public:
  ExperimentId() = default;
  explicit ExperimentId(std::int64_t number) : number_(number) {}
  // Returns the id, or kInvalidArgument when `text` is not a number from 0.
  [[nodiscard]] static Result<ExperimentId> parse(std::string_view text);

  [[nodiscard]] std::int64_t number() const { return number_; }
  [[nodiscard]] std::string str() const { return std::to_string(number_); }
  auto operator<=>(const ExperimentId&) const = default;

 private:
  std::int64_t number_ = 0;
};

// "m-" and 32 lowercase hex digits.
class LoggedModelId {
 public:
  LoggedModelId() = default;  // empty; only to be assigned to
  [[nodiscard]] static LoggedModelId generate() { return LoggedModelId("m-" + generate_hex_id()); }
  [[nodiscard]] static Result<LoggedModelId> parse(std::string_view text);
  [[nodiscard]] static LoggedModelId trusted(std::string text) { return LoggedModelId(std::move(text)); }

  [[nodiscard]] const std::string& str() const { return value_; }
  auto operator<=>(const LoggedModelId&) const = default;

 private:
  explicit LoggedModelId(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

enum class Lifecycle { active, deleted };
BOOST_DESCRIBE_ENUM(Lifecycle, active, deleted)

// Which of the living and the deleted a search looks at.
enum class View { active, deleted, all };
BOOST_DESCRIBE_ENUM(View, active, deleted, all)

enum class Status { running, scheduled, finished, failed, killed };
BOOST_DESCRIBE_ENUM(Status, running, scheduled, finished, failed, killed)

// Returns whether a run in this status has ended.
[[nodiscard]] constexpr bool is_final(Status status) {
  return status == Status::finished || status == Status::failed || status == Status::killed;
}

using Tags = std::map<std::string, std::string>;

struct KeyValue {
  std::string key;
  std::string value;
};
BOOST_DESCRIBE_STRUCT(KeyValue, (), (key, value))

struct Experiment {
  ExperimentId id;
  std::string name;
  std::string artefact_root;  // where clients put artefacts; "" = our own store
  Lifecycle lifecycle = Lifecycle::active;
  Tags tags;
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
};

struct NewExperiment {
  std::string name;
  std::string artefact_root;
  std::vector<KeyValue> tags;
  std::optional<ExperimentId> id;       // one that it had elsewhere; none = the next
  std::optional<std::int64_t> made_ms;  // none = now
};

struct RunInfo {
  RunId id;
  ExperimentId experiment;
  std::string name;
  std::string person;  // on whose behalf it runs, as the client says
  Status status = Status::running;
  Lifecycle lifecycle = Lifecycle::active;  // deleted also while its experiment is
  std::optional<std::int64_t> start_ms;
  std::optional<std::int64_t> end_ms;
  std::string artefact_root;  // of its experiment
};

struct NewRun {
  ExperimentId experiment;
  std::string name;
  std::string person;
  std::optional<std::int64_t> start_ms;
  std::vector<KeyValue> tags;
  std::optional<RunId> id;  // one that it had elsewhere; none = a new one
};

// What shall change; absent fields stay.
struct RunChange {
  std::optional<Status> status;
  std::optional<std::int64_t> end_ms;
  std::optional<std::string> name;
};

// One point of a curve. The value may be any double: NaN and both infinities are kept as they are.
struct Point {
  double value = 0;
  std::int64_t at_ms = 0;
  std::int64_t step = 0;
};

// A point as it comes in. Where it measures a logged model, perhaps on a data set, the model keeps it too.
struct Metric : Point {
  std::string key;
  std::string model;  // id of a logged model, or ""
  std::string dataset_name;
  std::string dataset_digest;
};

struct LatestMetric : Point {
  std::string key;
  std::int64_t points = 0;  // length of its curve
};

// What one request logs: all of it is kept, or nothing.
struct Batch {
  std::vector<Metric> metrics;
  std::vector<KeyValue> params;
  std::vector<KeyValue> tags;
};

struct Dataset {
  std::string name;
  std::string digest;
  std::string source_type;
  std::string source;
  std::optional<std::string> schema;
  std::optional<std::string> profile;
};

struct DatasetInput {
  Dataset dataset;
  std::vector<KeyValue> tags;
};

struct ModelUse {
  std::string model;  // id of a logged model
  std::int64_t step = 0;
};

// A run with everything but its curves, each list by key.
struct Run {
  RunInfo info;
  std::vector<LatestMetric> metrics;
  std::vector<KeyValue> params;
  std::vector<KeyValue> tags;
  std::vector<DatasetInput> inputs;
  std::vector<ModelUse> input_models;
  std::vector<ModelUse> output_models;
};

struct DatasetSummary {
  ExperimentId experiment;
  std::string name;
  std::string digest;
  std::string context;  // of the tag "mlflow.data.context"; "" where there is none
};

enum class LoggedModelStatus { unspecified, pending, ready, upload_failed };
BOOST_DESCRIBE_ENUM(LoggedModelStatus, unspecified, pending, ready, upload_failed)

struct LoggedModelMetric : Metric {
  std::string run;
};

// A model as a training script wrote it, before anybody registers it.
struct LoggedModel {
  LoggedModelId id;
  ExperimentId experiment;
  std::string name;
  std::string type;
  std::string source_run;  // id of a run, or ""
  LoggedModelStatus status = LoggedModelStatus::pending;
  Lifecycle lifecycle = Lifecycle::active;
  std::string artefact_root;  // of its experiment
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
  std::vector<KeyValue> params;
  std::vector<KeyValue> tags;
  std::vector<LoggedModelMetric> metrics;  // latest of each (key, data set)
};

struct NewLoggedModel {
  ExperimentId experiment;
  std::string name;  // "" = one is made up
  std::string type;
  std::string source_run;
  std::vector<KeyValue> params;
  std::vector<KeyValue> tags;
  std::optional<LoggedModelId> id;      // one that it had elsewhere; none = a new one
  std::optional<std::int64_t> made_ms;  // none = now
};

// A file of the artefact store.
struct Artefact {
  std::string path;
  std::string blob;  // SHA-256 of its content
  std::uint64_t bytes = 0;
};
BOOST_DESCRIBE_STRUCT(Artefact, (), (path, blob, bytes))

// The folders of our own store in which a run and a logged model keep their files.
[[nodiscard]] std::string artefact_folder(const RunInfo& run);
[[nodiscard]] std::string artefact_folder(const LoggedModel& model);

// An entry of a folder.
struct Entry {
  std::string name;
  bool is_folder = false;
  std::uint64_t bytes = 0;
};
BOOST_DESCRIBE_STRUCT(Entry, (), (name, is_folder, bytes))

template <class T>
struct Page {
  std::vector<T> items;
  std::optional<std::int64_t> next;  // offset of the next page; none = this was the last
};

// The limits of this room, settable by name.
struct Limits {
  using json_defaults = void;
  std::int64_t batch_metrics_max = 1'000;
  std::int64_t batch_params_max = 100;
  std::int64_t batch_tags_max = 100;
  std::int64_t batch_items_max = 1'000;  // metrics, parameters and tags together
  std::int64_t batch_inputs_max = 1'000;
  std::int64_t key_chars_max = 250;
  std::int64_t param_chars_max = 6'000;
  std::int64_t tag_chars_max = 8'000;
  std::int64_t experiment_name_chars_max = 500;
  std::int64_t experiment_tag_chars_max = 20'000;
  std::int64_t dataset_name_chars_max = 500;
  std::int64_t dataset_digest_chars_max = 36;
  std::int64_t dataset_schema_bytes_max = 1'048'575;
  std::int64_t dataset_source_bytes_max = 65'535;
  std::int64_t dataset_profile_bytes_max = 16'777'215;
  std::int64_t search_results_max = 50'000;
  std::int64_t history_results_max = 25'000;
  std::int64_t filter_bytes_max = 65'536;
  std::int64_t filter_conditions_max = 64;
  std::int64_t pattern_bytes_max = 8'192;  // of one LIKE
  std::int64_t listed_max = 100'000;       // entries of one folder of artefacts
  std::int64_t upload_parts_max = 10'000;  // of one file
  std::int64_t uploads_open_max = 64;      // in parts, at once
  std::int64_t upload_idle_ms_max = 86'400'000;
};
BOOST_DESCRIBE_STRUCT(Limits, (),
                      (batch_metrics_max, batch_params_max, batch_tags_max, batch_items_max, batch_inputs_max,
                       key_chars_max, param_chars_max, tag_chars_max, experiment_name_chars_max,
                       experiment_tag_chars_max, dataset_name_chars_max, dataset_digest_chars_max,
                       dataset_schema_bytes_max, dataset_source_bytes_max, dataset_profile_bytes_max,
                       search_results_max, history_results_max, filter_bytes_max, filter_conditions_max,
                       pattern_bytes_max, listed_max, upload_parts_max, uploads_open_max, upload_idle_ms_max))

}  // namespace tidemill::runs
