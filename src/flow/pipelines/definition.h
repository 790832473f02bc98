// A pipeline's definition: what is written in its YAML, checked. Private to the room.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "flow/pipelines/types.h"

namespace tidemill::pipelines {

constexpr std::int64_t kTimeoutMaxMs = 7 * 86'400'000LL;
constexpr std::int64_t kRetriesMax = 20;

// One entry of `steps`. Exactly one of `run` and `uses` is there.
struct StepDefinition {
  using json_defaults = void;
  std::string name;
  std::vector<json::Value> run;  // argv
  std::string uses;              // a built-in
  std::vector<std::string> needs;
  json::Object with;
  std::map<std::string, std::string> inputs;  // name → "step/file"
  std::vector<std::string> outputs;           // files below outputs/
  std::map<std::string, json::Value> env;
  std::optional<json::Value> when;
  std::string timeout = "1h";
  std::int64_t retries = 0;
  std::string retry_delay = "1s";  // before the second attempt; doubles with each further one
  std::int64_t memory_mib = 0;     // 0 = the server's default
  bool cache = false;
};
BOOST_DESCRIBE_STRUCT(StepDefinition, (),
                      (name, run, uses, needs, with, inputs, outputs, env, when, timeout, retries, retry_delay,
                       memory_mib, cache))

struct Definition {
  using json_defaults = void;
  std::string name;
  std::string description;
  json::Object params;
  std::vector<StepDefinition> steps;
};
BOOST_DESCRIBE_STRUCT(Definition, (), (name, description, params, steps))

// A checked definition. Steps are known by their index in definition.steps.
struct Plan {
  Definition definition;
  std::vector<std::vector<std::size_t>>
      needs;  // by step: all direct ones, sorted; `needs`, inputs and references together
  std::vector<std::int64_t> timeout_ms;
  std::vector<std::int64_t> retry_delay_ms;

  [[nodiscard]] std::optional<std::size_t> index_of(std::string_view step) const;
};

// Reads and checks a definition; `builtins` are the names that `uses` may take. kInvalidArgument names the step and the
// remedy: unknown fields, steps and references, no or two things to do, files that no step declares, and circles,
// spelled "a → b → a".
[[nodiscard]] Result<Plan> parse_definition(std::string_view yaml, const std::set<std::string>& builtins,
                                            const Limits& limits = {});

// Checks the paths and sizes of the code files. kTooLarge, kInvalidArgument.
[[nodiscard]] Result<void> check_files(const std::map<std::string, std::string>& files, const Limits& limits = {});

// Returns the params of a run: the defaults overlaid by what is given. kInvalidArgument for an unknown one, one of
// another type than its default, or a missing one whose default is null.
[[nodiscard]] Result<json::Object> complete_params(const Definition& definition, const json::Object& given);

}  // namespace tidemill::pipelines
