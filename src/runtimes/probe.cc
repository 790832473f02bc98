#include "runtimes/probe.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "runtimes/onnx_file.h"
#include "runtimes/runtime.h"

namespace tidemill::runtimes {
namespace {

constexpr std::uint64_t kReportBytesMax = 16u << 20;
constexpr int kArguments = 6;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitsMemory = false;  // the sanitizers' shadow memory alone is larger than any limit
#else
constexpr bool kLimitsMemory = true;
#endif

// What goes from the probe to the server.
struct Report {
  using json_defaults = void;
  std::optional<Probe> probe;
  std::string message;  // why there is no probe
  std::string reason;
  std::string remedy;
};
BOOST_DESCRIBE_STRUCT(Report, (), (probe, message, reason, remedy))

Result<Probe> look(const std::filesystem::path& library, const std::filesystem::path& model) {
  const auto runtime = TM_TRY(Runtime::create(library));
  const auto session = TM_TRY(runtime->load(model));
  Probe probe{session->inputs(), session->outputs(), std::nullopt, "", session->columns()};
  const Result<ScoreRule>& rule = session->score_rule();
  if (!rule) {
    probe.score_problem = rule.error().text();
    return probe;
  }
  probe.score_rule = *rule;
  if (probe.columns == 0) return probe;  // the model takes any width, so none can be tried
  const std::vector<float> zeros(static_cast<std::size_t>(2 * probe.columns), 0.0F);
  std::vector<double> scores(2);
  TM_CHECK(session->score(zeros, probe.columns, scores));
  return probe;
}

void limit_memory(std::uint64_t bytes) {
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const rlimit memory{bytes, bytes};
  if (kLimitsMemory) setrlimit(RLIMIT_AS, &memory);
}

std::unexpected<Error> stopping() {
  return fail(Code::kUnavailable, "runtimes.stopping",
              "The server is stopping, so the model was not checked to its end.",
              "Send it again when the server is back.");
}

std::unexpected<Error> refused(std::string message) {
  return fail(Code::kInvalidArgument, "runtimes.model_invalid", std::move(message),
              "Try the file with the Python package onnxruntime, and export it anew.");
}

}  // namespace

int probe_main(int argc, char** argv) {
  if (argc != kArguments) return 2;
  const std::string_view memory = argv[5];
  std::uint64_t memory_bytes = 0;
  if (std::from_chars(memory.data(), memory.data() + memory.size(), memory_bytes).ec != std::errc()) return 2;
  limit_memory(memory_bytes);
  const Result<Probe> probe = look(argv[2], argv[3]);
  Report report;
  if (probe) {
    report.probe = *probe;
  } else {
    report = {std::nullopt, probe.error().message, probe.error().reason, probe.error().remedy};
  }
  return write_file_durably(argv[4], json::encode(report)) ? 0 : 3;
}

Prober::Prober(const jobs::Executor& executor, std::filesystem::path library, std::filesystem::path program,
               ProbeLimits limits, FileLimits files, jobs::Sandbox sandbox)
    : executor_(executor),
      library_(std::move(library)),
      program_(std::move(program)),
      limits_(limits),
      files_(files),
      sandbox_(std::move(sandbox)) {}

void Prober::stop() const {
  const std::lock_guard lock(mutex_);
  stopping_ = true;
  for (jobs::Process* process : running_) process->kill();
}

Result<jobs::ProcessResult> Prober::run(const jobs::ProcessSpec& spec) const {
  std::unique_ptr<jobs::Process> process;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return stopping();
    process = TM_TRY(executor_.start(spec));
    running_.insert(process.get());
  }
  auto result = process->wait();
  const std::lock_guard lock(mutex_);
  running_.erase(process.get());
  if (stopping_ && (!result || !result->succeeded())) return stopping();
  return result;
}

Result<Probe> Prober::accept(const std::filesystem::path& model) const {
  TM_TRY(inspect_onnx(model, files_));
  const TemporaryFolder folder = TM_TRY(TemporaryFolder::create());
  const std::filesystem::path report_file = folder.path() / "report.json";
  jobs::ProcessSpec spec;
  spec.argv = {program_.string(),
               kProbeVerb,
               std::filesystem::absolute(library_).string(),
               std::filesystem::absolute(model).string(),
               report_file.string(),
               std::to_string(limits_.memory_bytes_max)};
  spec.work_folder = folder.path().string();
  spec.log_file = (folder.path() / "log").string();
  if (kLimitsMemory) spec.limits.memory_bytes = static_cast<std::int64_t>(limits_.memory_bytes_max);
  spec.sandbox = sandbox_;
  spec.sandbox.network = false;
  for (const std::size_t readable : {0U, 2U, 3U}) spec.sandbox.readable.push_back(spec.argv[readable]);
  spec.time_limit_ms = limits_.time_ms_max;
  spec.grace_ms = 0;
  const jobs::ProcessResult result = TM_TRY(run(spec));
  if (!result.succeeded()) {
    return refused(
        fmt::format("The model could not be loaded in a process of its own. {}", jobs::describe(result, spec)));
  }
  auto report = TM_TRY(json::decode<Report>(TM_TRY(read_file(report_file, kReportBytesMax))));
  if (!report.probe) {
    const bool unavailable = report.reason == "runtimes.no_library";
    return fail(unavailable ? Code::kUnavailable : Code::kInvalidArgument, report.reason, report.message,
                report.remedy);
  }
  return *std::move(report.probe);
}

}  // namespace tidemill::runtimes
