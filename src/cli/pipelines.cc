#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/files.h"
#include "cli/command.h"

namespace tidemill::cli {
namespace {

constexpr std::uint64_t kFileBytesMax = 1u << 20;
constexpr std::int64_t kWaitDefaultS = 3600;
constexpr auto kPollEvery = std::chrono::milliseconds(250);

// A link may lead out of the folder, and what it leads to may be another file tomorrow.
Error linked(const std::filesystem::path& link) {
  return {Code::kInvalidArgument,
          "cli.symbolic_link",
          fmt::format("'{}' is a symbolic link; a version of a pipeline is made of files.", link.string()),
          fmt::format("Put a copy in its place: cp -rL '{0}' '{0}.copy' && mv -T '{0}.copy' '{0}'", link.string()),
          {}};
}

// Reads pipeline.yaml and every other file of the folder, but hidden ones and caches.
Result<json::Object> read_folder(const std::filesystem::path& folder) {
  json::Object files;
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(folder, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (name.starts_with('.') || name == "__pycache__") {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink()) return fail(linked(entry->path()));
    if (!entry->is_regular_file()) continue;
    const std::string relative = std::filesystem::relative(entry->path(), folder).generic_string();
    if (relative != "pipeline.yaml") files[relative] = TM_TRY(read_file(entry->path(), kFileBytesMax));
  }
  if (error) return fail(errno_error("read the folder", folder, error.value()));
  return files;
}

Result<int> add(Call& call) {
  const std::filesystem::path folder = call.get("FOLDER");
  if (std::filesystem::is_symlink(folder / "pipeline.yaml")) return fail(linked(folder / "pipeline.yaml"));
  const json::Object body{{"definition", TM_TRY(read_file(folder / "pipeline.yaml", kFileBytesMax))},
                          {"files", TM_TRY(read_folder(folder))}};
  const auto answer = TM_TRY(call.client().post(api_path({"pipelines"}), body));
  call.say("The pipeline is stored.", answer);
  return kExitOk;
}

Result<json::Object> params_of(const Call& call) {
  json::Object params;
  for (const auto& text : call.all("--param")) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return fail(Code::kInvalidArgument, "cli.bad_param", fmt::format("--param {} is not NAME=VALUE.", text),
                  "Write --param from=2013-01-01.");
    }
    params[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return params;
}

std::string text_at(const json::Value& value, std::string_view key) {
  const auto* found = at_path(value, key);
  return found != nullptr && found->is_string() ? std::string(found->get_string()) : std::string();
}

// Prints the steps of a run and, below the table, in full what each failed one said and where to read more.
void print_steps(const Call& call, const json::Value& run, const std::vector<Column>& columns) {
  call.table(run, "steps", columns);
  const auto* steps = at_path(run, "steps");
  if (call.as_json() || steps == nullptr || !steps->is_array()) return;
  for (const auto& step : steps->get_array()) {
    if (text_at(step, "state") != "failed") continue;
    const std::string name = value_text(at_path(step, "name"), "name");
    fmt::print("\nStep '{}' has failed: {}\n", name, value_text(at_path(step, "message"), "message"));
    fmt::print("Its log: tidemill pipelines log {} {}\n", text_at(run, "id"), name);
  }
}

// Polls until the run has ended or `wait_s` seconds have passed.
Result<json::Value> wait_for(Call& call, const std::string& id, std::int64_t wait_s) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(wait_s);
  while (true) {
    auto run = TM_TRY(call.client().get(api_path({"pipelines", "runs", id})));
    const std::string state = text_at(run, "state");
    if (state != "queued" && state != "running") return run;
    if (std::chrono::steady_clock::now() > deadline) {
      return fail(Code::kExhausted, "cli.still_running",
                  fmt::format("Run {} is still {} after {} s.", id, state, wait_s),
                  "Look again with 'tidemill pipelines show'.");
    }
    std::this_thread::sleep_for(kPollEvery);
  }
}

Result<int> run(Call& call) {
  const json::Object body{{"params", TM_TRY(params_of(call))}, {"cause", call.get("--cause", "started by hand")}};
  auto started = TM_TRY(call.client().post(api_path({"pipelines", call.get("NAME"), "runs"}), body));
  const std::string id(started.as_object().at("id").as_string());
  if (!call.has("--wait")) {
    call.say(fmt::format("Run {} has started. Watch it: tidemill pipelines show {}", id, id), started);
    return kExitOk;
  }
  call.note(fmt::format("Run {} has started.", id));
  const auto ended = TM_TRY(wait_for(call, id, TM_TRY(call.integer("--timeout-s", kWaitDefaultS))));
  print_steps(
      call, ended,
      {{"STEP", "name"}, {"STATE", "state"}, {"ATTEMPTS", "attempts"}, {"CACHED", "cached"}, {"MESSAGE", "message"}});
  const std::string state = text_at(ended, "state");
  if (state == "succeeded") return kExitOk;
  call.note(fmt::format("Run {} has {}.", id, state));
  return kExitFailed;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"pipelines"}))), "pipelines",
             {{"NAME", "name"}, {"VERSION", "version"}, {"DESCRIPTION", "description"}});
  return kExitOk;
}

Result<int> runs(Call& call) {
  Query query;
  if (call.has("PIPELINE") && call.has("--pipeline") && call.get("PIPELINE") != call.get("--pipeline")) {
    return fail(Code::kInvalidArgument, "cli.two_pipelines",
                fmt::format("Two pipelines are named: '{}' and '{}'.", call.get("PIPELINE"), call.get("--pipeline")),
                "Name one.");
  }
  const std::string pipeline = call.get("PIPELINE", call.get("--pipeline"));
  if (!pipeline.empty()) query.emplace_back("pipeline", pipeline);
  if (call.has("--state")) query.emplace_back("state", call.get("--state"));
  call.table(
      TM_TRY(call.client().get(api_path({"pipelines", "runs"}), query)), "runs",
      {{"RUN", "id"}, {"PIPELINE", "pipeline"}, {"STATE", "state"}, {"CAUSE", "cause"}, {"STARTED", "started_ms"}});
  return kExitOk;
}

// Ids of runs are 32 hex digits (base/ids.h).
bool is_run_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

Result<int> show(Call& call) {
  const std::string name = call.get("RUN");
  if (!is_run_id(name)) {
    call.object(TM_TRY(call.client().get(api_path({"pipelines", name}))));
    if (!call.as_json()) fmt::print("\nIts runs: tidemill pipelines runs {}\n", name);
    return kExitOk;
  }
  print_steps(call, TM_TRY(call.client().get(api_path({"pipelines", "runs", name}))),
              {{"STEP", "name"},
               {"STATE", "state"},
               {"ATTEMPTS", "attempts"},
               {"CACHED", "cached"},
               {"STARTED", "started_ms"},
               {"MESSAGE", "message"}});
  return kExitOk;
}

Result<int> log(Call& call) {
  fmt::print("{}", TM_TRY(call.client().get_text(
                       api_path({"pipelines", "runs", call.get("RUN"), "steps", call.get("STEP"), "log"}))));
  return kExitOk;
}

Result<int> cancel(Call& call) {
  const auto answer =
      TM_TRY(call.client().post(api_path({"pipelines", "runs", call.get("RUN"), "cancel"}), json::Object{}));
  call.say("The run is being cancelled.", answer);
  return kExitOk;
}

}  // namespace

std::vector<Verb> pipelines_verbs() {
  const Parameter name{"NAME", "The pipeline", true};
  const Parameter run_id{"RUN", "The run's id", true};
  return {
      {"pipelines",
       "add",
       "Store a pipeline from a folder with pipeline.yaml and the files of its steps",
       {"tidemill pipelines add examples/flights/pipeline"},
       {{"FOLDER", "Where pipeline.yaml is", true}},
       add},
      {"pipelines",
       "run",
       "Start a run",
       {"tidemill pipelines run flight-delay --wait",
        "tidemill pipelines run flight-delay --param from=2013-01-01 --param to=2013-03-01"},
       {name,
        {"--param", "NAME=VALUE, repeatable", false, true},
        {"--cause", "Why it runs"},
        {"--wait!", "Wait for its end"},
        {"--timeout-s", "Seconds to wait at most (3600)"}},
       run},
      {"pipelines", "list", "List all pipelines", {"tidemill pipelines list"}, {}, list},
      {"pipelines",
       "runs",
       "List runs, newest first",
       {"tidemill pipelines runs flight-delay --state failed"},
       {{"PIPELINE", "Only of this pipeline"}, {"--pipeline", "The same"}, {"--state", "Only in this state"}},
       runs},
      {"pipelines",
       "show",
       "Show a run and its steps, or the newest version of a pipeline",
       {"tidemill pipelines show RUN", "tidemill pipelines show flight-delay"},
       {{"RUN", "The run's id, or the name of a pipeline", true}},
       show},
      {"pipelines",
       "log",
       "Print the log of a step",
       {"tidemill pipelines log RUN train"},
       {run_id, {"STEP", "The step", true}},
       log},
      {"pipelines", "cancel", "Stop a run", {"tidemill pipelines cancel RUN"}, {run_id}, cancel},
  };
}

}  // namespace tidemill::cli
