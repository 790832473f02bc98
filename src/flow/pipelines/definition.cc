#include "flow/pipelines/definition.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/clock.h"
#include "base/expand.h"
#include "base/files.h"
#include "base/ids.h"
#include "base/yaml.h"

namespace tidemill::pipelines {
namespace {

constexpr std::size_t kStepNameMax = 64;
constexpr std::size_t kOutputsMax = 200;
constexpr std::int64_t kMemoryMinMib = 16;
constexpr std::array<std::string_view, 2> kReservedNames{
    "runs", "builtins"};  // they stand where a name would in /api/pipelines/…

using Indices = std::map<std::string, std::size_t, std::less<>>;

std::unexpected<Error> refuse(std::string reason, std::string message, std::string remedy,
                              std::map<std::string, std::string> details = {}) {
  return fail(Code::kInvalidArgument, "pipelines." + std::move(reason), std::move(message), std::move(remedy),
              std::move(details));
}

std::string shown(std::string_view text) { return std::string(text.substr(0, 100)); }

std::string joined_names(const std::vector<StepDefinition>& steps) {
  std::string names;
  for (const StepDefinition& step : steps) {
    names += (names.empty() ? "" : ", ") + step.name;
    if (names.size() > 200) return names + " …";
  }
  return names;
}

bool is_step_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !name.empty() && name.size() <= kStepNameMax && name.front() != '-' && std::ranges::all_of(name, plain);
}

Result<Indices> index_steps(const std::vector<StepDefinition>& steps) {
  Indices indices;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!is_step_name(steps[i].name)) {
      return refuse("bad_step_name", fmt::format("'{}' cannot be the name of step {}.", shown(steps[i].name), i + 1),
                    "Use 1 to 64 of A–Z a–z 0–9 _ -, not starting with '-'.");
    }
    if (!indices.emplace(steps[i].name, i).second) {
      return refuse("duplicate_step", fmt::format("Two steps are named '{}'.", steps[i].name), "Rename one of them.");
    }
  }
  return indices;
}

// One step being checked against all of them.
class StepCheck {
 public:
  StepCheck(const Definition& definition, const Indices& indices, std::size_t index,
            const std::set<std::string>& builtins)
      : definition_(definition), indices_(indices), step_(definition.steps[index]), builtins_(builtins) {}

  // Returns the indices of the steps that it needs.
  Result<std::set<std::size_t>> run() {
    TM_CHECK(check_action());
    TM_CHECK(check_numbers());
    TM_CHECK(check_outputs());
    for (const std::string& need : step_.needs) needs_.insert(TM_TRY(find_step(need, "needs")));
    for (const auto& [name, source] : step_.inputs) TM_CHECK(check_input(name, source));
    TM_CHECK(check_references(step_.with));
    for (const json::Value& word : step_.run) TM_CHECK(check_references(word));
    for (const auto& [name, value] : step_.env) TM_CHECK(check_references(value));
    if (step_.when) TM_CHECK(check_references(*step_.when));
    return std::move(needs_);
  }

 private:
  Result<void> check_action() {
    if (step_.run.empty() == step_.uses.empty()) {
      return refuse("no_action", fmt::format("Step '{}' must have either `run` or `uses`.", step_.name),
                    "Give `run: [program, argument, …]` or `uses: <built-in>`, not both.");
    }
    if (!step_.uses.empty() && !builtins_.contains(step_.uses)) {
      return refuse(
          "unknown_builtin", fmt::format("Step '{}' uses '{}', which is no built-in.", step_.name, shown(step_.uses)),
          fmt::format("Built-ins: {}.", fmt::join(builtins_, ", ")), {{"step", step_.name}, {"builtin", step_.uses}});
    }
    for (const json::Value& word : step_.run) {
      if (auto text = scalar_text(word); !text) {
        return refuse("bad_argument",
                      fmt::format("Step '{}' has the argument {}.", step_.name, shown(json::serialize(word))),
                      "Arguments are texts or numbers; quote what is neither.");
      }
    }
    return {};
  }

  Result<void> check_numbers() {
    if (step_.retries < 0 || step_.retries > kRetriesMax) {
      return refuse("bad_retries", fmt::format("Step '{}' has retries: {}.", step_.name, step_.retries),
                    fmt::format("Use 0 to {}.", kRetriesMax));
    }
    if (step_.memory_mib != 0 && step_.memory_mib < kMemoryMinMib) {
      return refuse("bad_memory", fmt::format("Step '{}' has memory_mib: {}.", step_.name, step_.memory_mib),
                    fmt::format("Use {} or more, or leave it out.", kMemoryMinMib));
    }
    return {};
  }

  Result<void> check_path(std::string_view path, std::string_view noun) {
    if (path_beneath("/x", path)) return {};
    return refuse("bad_path", fmt::format("Step '{}' has the {} '{}'.", step_.name, noun, shown(path)),
                  "Use a relative path such as model.onnx.");
  }

  Result<void> check_outputs() {
    std::set<std::string> seen;
    if (step_.outputs.size() > kOutputsMax) {
      return refuse(
          "too_many_outputs",
          fmt::format("Step '{}' has {} outputs; the limit is {}.", step_.name, step_.outputs.size(), kOutputsMax),
          "Pack them into one file.");
    }
    for (const std::string& output : step_.outputs) {
      TM_CHECK(check_path(output, "output"));
      if (!seen.insert(output).second) {
        return refuse("duplicate_output", fmt::format("Step '{}' lists the output '{}' twice.", step_.name, output),
                      "Remove one.");
      }
    }
    return {};
  }

  Result<std::size_t> find_step(std::string_view name, std::string_view how) {
    if (const auto found = indices_.find(name); found != indices_.end()) return found->second;
    return refuse("unknown_step",
                  fmt::format("Step '{}' {} '{}', which is no step of this pipeline.", step_.name, how, shown(name)),
                  fmt::format("Steps: {}.", joined_names(definition_.steps)),
                  {{"step", step_.name}, {"unknown", shown(name)}});
  }

  Result<void> check_input(const std::string& name, const std::string& source) {
    TM_CHECK(check_path(name, "input"));
    const std::size_t slash = source.find('/');
    if (slash == std::string::npos) {
      return refuse("bad_input", fmt::format("Step '{}' takes the input {}: '{}'.", step_.name, name, shown(source)),
                    "Write it as step/file.");
    }
    const std::size_t index = TM_TRY(find_step(source.substr(0, slash), "takes an input of"));
    const StepDefinition& maker = definition_.steps[index];
    const std::string file = source.substr(slash + 1);
    if (std::ranges::find(maker.outputs, file) == maker.outputs.end()) {
      return refuse(
          "unknown_output",
          fmt::format("Step '{}' takes '{}', but step '{}' has no output '{}'.", step_.name, shown(source), maker.name,
                      shown(file)),
          fmt::format("List it under outputs of '{}', or use one of: {}.", maker.name, fmt::join(maker.outputs, ", ")));
    }
    needs_.insert(index);
    return {};
  }

  Result<void> check_references(const json::Value& value) {
    for (const std::string& path : TM_TRY(references(value))) TM_CHECK(check_reference(path));
    return {};
  }

  Result<void> check_reference(std::string_view path) {
    constexpr std::array<std::string_view, 5> kRun{"run.id", "run.cause", "run.pipeline", "run.version", "run.made_by"};
    if (std::ranges::find(kRun, path) != kRun.end()) return {};
    if (path.starts_with("params.")) {
      const std::string_view name = path.substr(7, path.find('.', 7) - 7);
      if (definition_.params.contains(name)) return {};
      return refuse("unknown_param",
                    fmt::format("Step '{}' refers to ${{{}}}, but there is no parameter '{}'.", step_.name, shown(path),
                                shown(name)),
                    "Add it under params with a default, or null if it must be given.");
    }
    if (path.starts_with("steps.")) {
      const std::size_t dot = path.find('.', 6);
      const std::string_view rest = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
      if (rest == "result" || rest.starts_with("result.")) {
        needs_.insert(TM_TRY(find_step(path.substr(6, dot - 6), "refers to")));
        return {};
      }
    }
    return refuse("bad_reference",
                  fmt::format("Step '{}' refers to ${{{}}}, which means nothing here.", step_.name, shown(path)),
                  fmt::format("Use ${{params.x}}, ${{steps.s.result.k}}, ${{{}}}.", fmt::join(kRun, "}, ${")));
  }

  const Definition& definition_;
  const Indices& indices_;
  const StepDefinition& step_;
  const std::set<std::string>& builtins_;
  std::set<std::size_t> needs_;
};

// Depth-first search without recursion, so that a chain of any length is fine. Returns the steps of a circle, first one
// repeated at the end, or nothing.
std::vector<std::size_t> find_circle(const std::vector<std::vector<std::size_t>>& needs) {
  enum class Mark { fresh, open, done };
  std::vector<Mark> marks(needs.size(), Mark::fresh);
  for (std::size_t root = 0; root < needs.size(); ++root) {
    if (marks[root] != Mark::fresh) continue;
    std::vector<std::pair<std::size_t, std::size_t>> path{{root, 0}};  // step, how many of its needs were looked at
    marks[root] = Mark::open;
    while (!path.empty()) {
      auto& [step, next] = path.back();
      if (next == needs[step].size()) {
        marks[step] = Mark::done;
        path.pop_back();
        continue;
      }
      const std::size_t need = needs[step][next++];
      if (marks[need] == Mark::open) {
        const auto begin = std::ranges::find(path, need, &std::pair<std::size_t, std::size_t>::first);
        std::vector<std::size_t> circle;
        for (auto at = begin; at != path.end(); ++at) circle.push_back(at->first);
        circle.push_back(need);
        return circle;
      }
      if (marks[need] == Mark::fresh) {
        marks[need] = Mark::open;
        path.emplace_back(need, 0);
      }
    }
  }
  return {};
}

Result<void> check_no_circle(const Plan& plan) {
  const auto circle = find_circle(plan.needs);
  if (circle.empty()) return {};
  std::string spelled;
  for (const std::size_t step : circle) spelled += (spelled.empty() ? "" : " → ") + plan.definition.steps[step].name;
  return refuse("cycle", "The steps wait for one another in a circle: " + spelled + ".",
                "Remove one of these needs, inputs or references.", {{"cycle", spelled}});
}

Result<std::int64_t> duration_of(const StepDefinition& step, std::string_view field, std::string_view text) {
  auto duration_ms = parse_duration_ms(text);
  if (duration_ms && *duration_ms > 0 && *duration_ms <= kTimeoutMaxMs) return *duration_ms;
  return refuse("bad_duration", fmt::format("Step '{}' has {}: '{}'.", step.name, field, shown(text)),
                "Write it as 90s, 15m, 3h or 7d, at most 7d.");
}

// Returns `given` when it is of the kind of `known`, or text that spells such a value, as a command line has nothing
// but text.
std::optional<json::Value> like(const json::Value& known, const json::Value& given) {
  const auto fits = [&](const json::Value& value) {
    return known.is_null() || known.kind() == value.kind() || (known.is_number() && value.is_number());
  };
  if (fits(given)) return given;
  const auto* text = given.if_string();
  if (text == nullptr) return std::nullopt;
  auto read = json::parse(*text);
  return read && fits(*read) ? std::optional(*std::move(read)) : std::nullopt;
}

Result<void> check_head(const Definition& definition, const Limits& limits) {
  TM_CHECK(check_name("pipeline", definition.name));
  if (std::ranges::find(kReservedNames, definition.name) != kReservedNames.end()) {
    return refuse("reserved_name", "A pipeline cannot be named '" + definition.name + "'.", "Choose another name.");
  }
  if (definition.steps.empty()) return refuse("no_steps", "The pipeline has no steps.", "Add one under steps.");
  if (std::cmp_greater(definition.steps.size(), limits.steps_max)) {
    return fail(Code::kTooLarge, "pipelines.too_many_steps",
                fmt::format("The pipeline has {} steps; the limit is {}.", definition.steps.size(), limits.steps_max),
                "Split it.");
  }
  for (const auto& entry : definition.params) {
    if (!is_step_name(entry.key())) {
      return refuse("bad_param_name", fmt::format("'{}' cannot be the name of a parameter.", shown(entry.key())),
                    "Use A–Z a–z 0–9 _ -.");
    }
  }
  return {};
}

}  // namespace

std::optional<std::size_t> Plan::index_of(std::string_view step) const {
  for (std::size_t i = 0; i < definition.steps.size(); ++i) {
    if (definition.steps[i].name == step) return i;
  }
  return std::nullopt;
}

Result<Plan> parse_definition(std::string_view yaml, const std::set<std::string>& builtins, const Limits& limits) {
  if (std::cmp_greater(yaml.size(), limits.definition_bytes_max)) {
    return fail(Code::kTooLarge, "pipelines.definition_too_large",
                fmt::format("The definition has {} bytes; the limit is {}.", yaml.size(), limits.definition_bytes_max),
                "Move code into files.");
  }
  Plan plan;
  plan.definition = TM_TRY(json::from_json<Definition>(TM_TRY(parse_yaml(yaml, "definition"))));
  const Definition& definition = plan.definition;
  TM_CHECK(check_head(definition, limits));
  const Indices indices = TM_TRY(index_steps(definition.steps));
  for (std::size_t i = 0; i < definition.steps.size(); ++i) {
    const auto needs = TM_TRY(StepCheck(definition, indices, i, builtins).run());
    plan.needs.emplace_back(needs.begin(), needs.end());
    plan.timeout_ms.push_back(TM_TRY(duration_of(definition.steps[i], "timeout", definition.steps[i].timeout)));
    plan.retry_delay_ms.push_back(
        TM_TRY(duration_of(definition.steps[i], "retry_delay", definition.steps[i].retry_delay)));
  }
  TM_CHECK(check_no_circle(plan));
  return plan;
}

Result<void> check_files(const std::map<std::string, std::string>& files, const Limits& limits) {
  std::size_t bytes = 0;
  for (const auto& [path, text] : files) {
    bytes += text.size();
    TM_CHECK(path_beneath("/x", path));
    // "a" cannot be both a file and a folder.
    const auto next = files.upper_bound(path);
    for (auto at = next; at != files.end() && at->first.starts_with(path); ++at) {
      if (at->first[path.size()] == '/') {
        return refuse("bad_files",
                      fmt::format("'{}' is a file and, in '{}', a folder too.", shown(path), shown(at->first)),
                      "Rename one of them.");
      }
    }
  }
  if (std::cmp_greater(files.size(), limits.files_max) || std::cmp_greater(bytes, limits.files_bytes_max)) {
    return fail(Code::kTooLarge, "pipelines.files_too_large",
                fmt::format("{} files with {} bytes are too much; the limits are {} and {}.", files.size(), bytes,
                            limits.files_max, limits.files_bytes_max),
                "Keep data in datasets and only code here.");
  }
  return {};
}

Result<json::Object> complete_params(const Definition& definition, const json::Object& given) {
  json::Object params = definition.params;
  for (const auto& entry : given) {
    json::Value* known = params.if_contains(entry.key());
    if (known == nullptr) {
      std::string names;
      for (const auto& param : definition.params) names += (names.empty() ? "" : ", ") + std::string(param.key());
      return refuse("unknown_param",
                    fmt::format("Pipeline '{}' has no parameter '{}'.", definition.name, shown(entry.key())),
                    names.empty() ? "It takes none." : "Parameters: " + names + ".");
    }
    const auto value = like(*known, entry.value());
    if (!value) {
      return refuse("bad_param",
                    fmt::format("Parameter '{}' of pipeline '{}' cannot be {}.", std::string_view(entry.key()),
                                definition.name, shown(json::serialize(entry.value()))),
                    fmt::format("Give a value like its default, {}.", shown(json::serialize(*known))));
    }
    *known = *value;
  }
  for (const auto& param : params) {
    if (param.value().is_null()) {
      return refuse(
          "missing_param",
          fmt::format("Parameter '{}' of pipeline '{}' must be given.", std::string_view(param.key()), definition.name),
          "Add it to params.");
    }
  }
  return params;
}

}  // namespace tidemill::pipelines
