// Registered models and their versions.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"
#include "flow/requirements/types.h"
#include "runtimes/types.h"
#include "statistics/classification.h"

namespace tidemill::models {

// candidate -> tested -> approved | rejected -> archived. Only `tested` (a passed gate) leads to `approved`, and only
// by somebody who did not make the version, or by an approved policy.
enum class State { candidate, tested, approved, rejected, archived };
BOOST_DESCRIBE_ENUM(State, candidate, tested, approved, rejected, archived)

// The deprecated stages of MLflow's registry, in its spelling. Kept for its clients; they govern nothing here.
enum class Stage { None, Staging, Production, Archived };
BOOST_DESCRIBE_ENUM(Stage, None, Staging, Production, Archived)

enum class ColumnKind { number, category };
BOOST_DESCRIBE_ENUM(ColumnKind, number, category)

// What the model is given for a value that is missing, or a category outside the list: NaN, or the code -1.
enum class Missing { nan, code };
BOOST_DESCRIBE_ENUM(Missing, nan, code)

// One column of the model's input matrix. A category is given as its index in `categories`.
struct ColumnSpec {
  using json_defaults = void;
  std::string name;
  ColumnKind kind = ColumnKind::number;
  std::vector<std::string> categories;
  Missing missing = Missing::nan;
};
BOOST_DESCRIBE_STRUCT(ColumnSpec, (), (name, kind, categories, missing))

// The content of columns.json: {"columns": [{"name": "hour", "kind": "number"}, …], "label_column": "late"}.
struct Signature {
  using json_defaults = void;
  std::vector<ColumnSpec> columns;
  std::string label_column;
};
BOOST_DESCRIBE_STRUCT(Signature, (), (columns, label_column))

struct FileRef {
  std::string blob;  // SHA-256 of the content, 64 hex digits
  std::uint64_t bytes = 0;
};
BOOST_DESCRIBE_STRUCT(FileRef, (), (blob, bytes))

struct DatasetRef {
  std::string dataset;
  std::int64_t number = 0;
};
BOOST_DESCRIBE_STRUCT(DatasetRef, (), (dataset, number))

struct Window {
  std::int64_t from_ms = 0;
  std::int64_t to_ms = 0;  // exclusive
};
BOOST_DESCRIBE_STRUCT(Window, (), (from_ms, to_ms))

// What a version was made from.
struct Lineage {
  using json_defaults = void;
  std::string pipeline;
  std::string pipeline_run;
  std::string step;
  std::vector<DatasetRef> datasets;
  std::string feature_view;
  std::optional<Window> window;
};
BOOST_DESCRIBE_STRUCT(Lineage, (), (pipeline, pipeline_run, step, datasets, feature_view, window))

// Proof that the ONNX model answers as the original did, on the same rows.
struct Parity {
  using json_defaults = void;
  std::string onnx;  // SHA-256 of the very file that was compared
  std::int64_t rows = 0;
  double max_abs_diff = 0;
  double mean_abs_diff = 0;
  double label_agreement = 0;  // share of rows that both put on the same side of `threshold`
  double threshold = 0.5;
  double max_abs_diff_limit = 0;
  double label_agreement_limit = 0;
};
BOOST_DESCRIBE_STRUCT(Parity, (),
                      (onnx, rows, max_abs_diff, mean_abs_diff, label_agreement, threshold, max_abs_diff_limit,
                       label_agreement_limit))

// How one version did on the gate's rows. Intervals at 95 %.
struct Performance {
  using json_defaults = void;
  std::int64_t version = 0;
  double auc = 0;
  double auc_low = 0;
  double auc_high = 0;
  double brier = 0;
  double brier_low = 0;
  double brier_high = 0;
  double log_loss = 0;
  statistics::Confusion confusion;  // at the requirement's threshold
};
BOOST_DESCRIBE_STRUCT(Performance, (),
                      (version, auc, auc_low, auc_high, brier, brier_low, brier_high, log_loss, confusion))

// Candidate minus champion on the same rows (paired; DeLong).
struct Difference {
  using json_defaults = void;
  double auc = 0;
  double auc_low = 0;
  double auc_high = 0;
  double p = 1;
  double margin = 0;  // what had to be reached
  bool met = false;
};
BOOST_DESCRIBE_STRUCT(Difference, (), (auc, auc_low, auc_high, p, margin, met))

// The report of one pass through the gate. Never changed once kept.
struct GateReport {
  using json_defaults = void;
  bool passed = false;
  std::string reason;  // one sentence: why it passed or did not
  std::string requirement;
  std::int64_t requirement_revision = 0;
  std::int64_t rows = 0;
  std::int64_t positives = 0;
  std::string data;  // SHA-256 of the labelled file
  std::vector<requirements::Verdict> verdicts;
  std::optional<Performance> candidate;  // absent when there were too few rows to measure
  std::optional<Performance> champion;   // absent when there was none to beat
  std::optional<Difference> difference;
  requirements::Metrics metrics;  // everything measured of the candidate
  std::string pipeline_run;
  std::string step;
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(GateReport, (),
                      (passed, reason, requirement, requirement_revision, rows, positives, data, verdicts, candidate,
                       champion, difference, metrics, pipeline_run, step, made_by, made_ms))

using Tags = std::map<std::string, std::string>;

struct Model {
  std::string name;
  std::string description;
  Tags tags;
  std::map<std::string, std::int64_t> aliases;  // alias -> number
  std::int64_t newest = 0;                      // number of the newest version; 0 = none
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Model, (), (name, description, tags, aliases, newest, made_by, made_ms, updated_ms))

// A version without its long parts (see VersionDetail): what lists show.
struct Version {
  std::string model;
  std::int64_t number = 0;  // 1, 2, 3 … within the model
  State state = State::candidate;
  Stage stage = Stage::None;
  std::string description;
  std::string
      source;  // where it came from in MLflow's words, such as "runs:/<id>/model"; "" for versions of a pipeline
  std::string run_id;  // of the training run
  std::string run_link;
  std::string digest;  // of the content: files, columns and label; equal for equal models
  std::string onnx;    // which of the files is run; "" = the version cannot be served
  Tags tags;
  std::vector<std::string> aliases;
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t updated_ms = 0;
  std::string decided_by;  // who approved or rejected it: a person, or "policy/<name>"
  std::string decided_reason;
};
BOOST_DESCRIBE_STRUCT(Version, (),
                      (model, number, state, stage, description, source, run_id, run_link, digest, onnx, tags, aliases,
                       made_by, made_ms, updated_ms, decided_by, decided_reason))

// Everything of a version but its baseline, which is long and asked for by itself.
struct VersionDetail : Version {
  std::map<std::string, FileRef> files;  // by path, such as "model.onnx"
  std::vector<ColumnSpec> columns;
  std::string label_column;
  std::vector<runtimes::TensorInfo> inputs;
  std::vector<runtimes::TensorInfo> outputs;
  Lineage lineage;
  std::optional<Parity> parity;
  std::vector<GateReport> tests;  // oldest first
  bool has_baseline = false;
};
BOOST_DESCRIBE_STRUCT(VersionDetail, (Version),
                      (files, columns, label_column, inputs, outputs, lineage, parity, tests, has_baseline))

// What a version is made of. Content cannot be changed afterwards; description, tags, aliases, stage and state can.
struct NewVersion {
  std::string model;
  std::string description;
  std::string source;
  std::string run_id;
  std::string run_link;
  Tags tags;
  std::map<std::string, FileRef> files;  // blobs that the store has already
  std::string onnx;                      // one of the files; "" = none
  Signature signature;
  Lineage lineage;
  std::optional<Parity> parity;
  std::string once_key;                 // non-empty: a second call with the same key answers the first one's version
  std::optional<std::int64_t> number;   // one that it had elsewhere; none = the next
  std::optional<std::int64_t> made_ms;  // none = now
};

}  // namespace tidemill::models
