// Pipelines, their versions, runs and steps, as callers see them.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "access/types.h"
#include "base/ids.h"
#include "base/json.h"

namespace tidemill::pipelines {

struct PipelineRunTag {
  static constexpr const char* kNoun = "pipelines/runs";
};
using PipelineRunId = Id<PipelineRunTag>;

// What is refused or held back, by name: `--set pipelines.steps_parallel=8`.
struct Limits {
  using json_defaults = void;
  std::int64_t definition_bytes_max = 256 << 10;
  std::int64_t steps_max = 1'000;
  std::int64_t files_max = 1'000;
  std::int64_t files_bytes_max = 16 << 20;   // of all code files of a version together
  std::int64_t params_bytes_max = 64 << 10;  // of a run, as JSON
  std::int64_t steps_parallel = 0;  // processes and built-ins at work at once; 0 = one per processor, at least two
  std::int64_t runs_parallel = 8;
  std::int64_t memory_mib = 4'096;    // of a step that names none; 0 = no limit
  std::int64_t processes = 512;       // of one step
  std::int64_t log_bytes = 16 << 20;  // of one attempt; what comes after it is dropped
  std::int64_t result_bytes_max = 64 << 10;
  std::int64_t output_bytes_max = std::int64_t{16} << 30;  // of one file
};
BOOST_DESCRIBE_STRUCT(Limits, (),
                      (definition_bytes_max, steps_max, files_max, files_bytes_max, params_bytes_max, steps_parallel,
                       runs_parallel, memory_mib, processes, log_bytes, result_bytes_max, output_bytes_max))

// What somebody hands in: the definition as YAML, and the code that its steps run, by path.
struct NewVersion {
  std::string definition;
  std::map<std::string, std::string> files;
};

// One step as a version shows it.
struct StepShape {
  std::string name;
  std::string does;  // "run" or the name of the built-in
  std::vector<std::string>
      needs;  // all steps that must have succeeded before it, named or implied by what it refers to
};
BOOST_DESCRIBE_STRUCT(StepShape, (), (name, does, needs))

// A version is its content: `digest` = SHA-256 over definition and files. The same content again is the same version.
struct Version {
  std::string pipeline;
  std::int64_t number = 0;
  std::string digest;
  std::string description;
  json::Object params;  // with their defaults; null = must be given
  std::vector<StepShape> steps;
  std::vector<std::string> files;
  std::string definition;
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Version, (),
                      (pipeline, number, digest, description, params, steps, files, definition, made_by, made_ms))

struct Pipeline {
  std::string name;
  std::string description;
  std::int64_t version = 0;  // number of the newest
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Pipeline, (), (name, description, version, made_by, made_ms))

// queued → running → succeeded | failed | cancelled
enum class RunState { queued, running, succeeded, failed, cancelled };
BOOST_DESCRIBE_ENUM(RunState, queued, running, succeeded, failed, cancelled)

// waiting → running → succeeded | failed | cancelled; back to waiting before a retry; waiting → skipped when `when`
// says so or a step that it needs did not succeed.
enum class StepState { waiting, running, succeeded, failed, skipped, cancelled };
BOOST_DESCRIBE_ENUM(StepState, waiting, running, succeeded, failed, skipped, cancelled)

struct Output {
  std::string name;  // path below outputs/
  std::string blob;
  std::int64_t bytes = 0;
};
BOOST_DESCRIBE_STRUCT(Output, (), (name, blob, bytes))

struct Step {
  std::string name;
  StepState state = StepState::waiting;
  std::int64_t attempts =
      0;  // started so far; the newest has this number; 0 = none, as when its outputs came from the cache
  std::int64_t failures = 0;  // attempts that failed by themselves; one that a dying server took along is none
  bool cached = false;
  std::optional<std::int64_t> started_ms;  // of the newest attempt
  std::optional<std::int64_t> finished_ms;
  std::string message;
  json::Object result;
  std::vector<Output> outputs;
};
BOOST_DESCRIBE_STRUCT(Step, (),
                      (name, state, attempts, failures, cached, started_ms, finished_ms, message, result, outputs))

struct Run {
  PipelineRunId id;
  std::string pipeline;
  std::int64_t version = 0;
  RunState state = RunState::queued;
  json::Object params;  // complete: defaults filled in
  std::string cause;
  std::string message;
  std::string made_by;
  std::int64_t queued_ms = 0;
  std::optional<std::int64_t> started_ms;
  std::optional<std::int64_t> finished_ms;
  std::vector<Step> steps;  // in the order of the definition; empty in lists
};
BOOST_DESCRIBE_STRUCT(Run, (),
                      (id, pipeline, version, state, params, cause, message, made_by, queued_ms, started_ms,
                       finished_ms, steps))

struct NewRun {
  using json_defaults = void;
  json::Object params;  // those that differ from the defaults
  std::string cause;    // why it runs, for people: "monitors/flights: AUC 0.65 < 0.68"; "" = "asked by <actor>"
  std::optional<std::int64_t> version;  // absent = the newest
};
BOOST_DESCRIBE_STRUCT(NewRun, (), (params, cause, version))

struct RunFilter {
  std::string pipeline;           // "" = all
  std::optional<RunState> state;  // absent = all
  std::string before;             // run id; "" = from the newest on
  std::int64_t limit = 50;        // 1 to kRunsMax
};

// What a built-in step gets. It must be idempotent per (run, step): after a crash it is called again.
struct BuiltinCall {
  PipelineRunId run;
  std::string step;
  std::string pipeline;
  std::string cause;
  json::Object with;                                    // expanded
  std::map<std::string, std::filesystem::path> inputs;  // read-only copies
  std::filesystem::path outputs;                        // folder for the declared outputs
  access::Actor actor;                                  // who started the run, with the rights of a service
  std::function<bool()> cancelled;                      // look at it during long work, then return an error
  std::function<void(const std::string&)> log;          // adds a line to the step's log
};
// Returns the step's result; an error fails the attempt.
using Builtin = std::function<Result<json::Object>(const BuiltinCall&)>;

}  // namespace tidemill::pipelines
