// What a verb of the command line is: one record, from which parsing, `--help` and the reference are made.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/client.h"
#include "cli/print.h"

namespace tidemill::cli {

// Exit codes, the same for every verb (docs/reference/cli.md).
constexpr int kExitOk = 0;
constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitNotFound = 3;
constexpr int kExitRefused = 4;
constexpr int kExitConflict = 5;
constexpr int kExitGate = 6;
constexpr int kExitUnreachable = 7;

// One argument by position or one `--option`.
struct Parameter {
  std::string name;  // "NAME" by position, "--reason" as an option, "--wait!" as a flag without value
  std::string help;
  bool required = false;
  bool repeated = false;
};

// One invocation, given to a verb. Lives on one thread.
class Call {
 public:
  Call(Client& client, bool as_json, std::map<std::string, std::vector<std::string>> values)
      : client_(client), as_json_(as_json), values_(std::move(values)) {}

  [[nodiscard]] Client& client() { return client_; }
  [[nodiscard]] bool as_json() const { return as_json_; }

  // Returns the value of an argument or option, or `fallback` when it was not given.
  [[nodiscard]] std::string get(const std::string& name, std::string fallback = {}) const;
  [[nodiscard]] const std::vector<std::string>& all(const std::string& name) const;
  [[nodiscard]] bool has(const std::string& name) const { return values_.contains(name); }
  // Returns those of the options --NAME that were given, as query parameters of the same names.
  [[nodiscard]] Query query(std::initializer_list<std::string> names) const;
  // Returns the option as a whole number; kInvalidArgument names the option otherwise.
  [[nodiscard]] Result<std::int64_t> integer(const std::string& name, std::int64_t fallback) const;

  // Prints the rows under `key` of the answer as a table, "(none)" on standard error when there are none, or the
  // whole answer with --json.
  void table(const json::Value& answer, std::string_view key, const std::vector<Column>& columns) const;
  // Prints an object as object_text lays it out, or as JSON with --json.
  void object(const json::Value& answer) const;
  // Prints a sentence for people on standard output; with --json prints `answer` instead.
  void say(const std::string& sentence, const json::Value& answer) const;
  // Prints a note for people on standard error, in every mode.
  void note(const std::string& sentence) const;

 private:
  Client& client_;
  const bool as_json_;
  const std::map<std::string, std::vector<std::string>> values_;
};

struct Verb {
  std::string noun;
  std::string name;
  std::string help;
  std::vector<std::string> examples;  // shown first by --help
  std::vector<Parameter> parameters;
  // Returns the exit code, or an error that main prints and turns into one.
  std::function<Result<int>(Call&)> run;
};

// Returns the exit code that stands for an error.
[[nodiscard]] int exit_code(const Error& error);

// Reads a definition file, YAML or JSON, as JSON; "-" is standard input. Plain scalars become numbers, booleans and
// null as YAML 1.2's core schema says, so `no` stays text. kInvalidArgument names file and line. Anchors, aliases and
// tags are refused.
[[nodiscard]] Result<json::Value> read_definition(const std::string& file);

// The verbs of each noun; one file a noun.
[[nodiscard]] std::vector<Verb> access_verbs();
[[nodiscard]] std::vector<Verb> datasets_verbs();
[[nodiscard]] std::vector<Verb> deployments_verbs();
[[nodiscard]] std::vector<Verb> events_verbs();
[[nodiscard]] std::vector<Verb> features_verbs();
[[nodiscard]] std::vector<Verb> imports_verbs();
[[nodiscard]] std::vector<Verb> models_verbs();
[[nodiscard]] std::vector<Verb> monitors_verbs();
[[nodiscard]] std::vector<Verb> pipelines_verbs();
[[nodiscard]] std::vector<Verb> predictions_verbs();
[[nodiscard]] std::vector<Verb> requirements_verbs();
[[nodiscard]] std::vector<Verb> runs_verbs();
[[nodiscard]] std::vector<Verb> traces_verbs();
[[nodiscard]] std::vector<Verb> triggers_verbs();
[[nodiscard]] std::vector<Verb> webhooks_verbs();

}  // namespace tidemill::cli
