#include "flow/pipelines/attempt.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "base/text.h"

namespace tidemill::pipelines {
namespace {

constexpr std::int64_t kTailBytes = 4'096;
constexpr std::size_t kLineMax = 300;

// Not durable: what is in a work folder is made anew after a crash.
Result<void> write_plainly(const std::filesystem::path& path, std::string_view bytes) {
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.open()) return fail(errno_error("create", path, errno));
  while (!bytes.empty()) {
    const ssize_t count = ::write(file.get(), bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(errno_error("write", path, errno));
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

// Returns root/relative, whose folders exist.
Result<std::filesystem::path> place_beneath(const std::filesystem::path& root, std::string_view relative) {
  const auto path = TM_TRY(path_beneath(root, relative));
  if (relative.find('/') != std::string_view::npos) TM_CHECK(make_folder(path.parent_path()));
  return path;
}

}  // namespace

Outcome Attempt::run() {
  folder_ = engine_.work_folder(task_.run) / fmt::format("{}.{}", task_.step, task_.attempt);
  log_file_ = engine_.log_file(task_.run, task_.step, task_.attempt);
  Outcome outcome;
  try {
    auto worked = work();
    if (worked) {
      outcome = *std::move(worked);
    } else {
      outcome.message = worked.error().text();
    }
  } catch (const std::exception& caught) {
    outcome.message = std::string("It failed: ") + caught.what() + ".";
  }
  std::error_code ignored;  // a leftover is removed with the run's folder
  std::filesystem::remove_all(folder_, ignored);
  return outcome;
}

Result<Outcome> Attempt::work() {
  Outcome outcome;
  TM_CHECK(make_folders());
  TM_CHECK(bring_inputs());
  if (task_.uses.empty()) {
    TM_CHECK(bring_code());
    TM_CHECK(run_process(outcome.result));
  } else {
    TM_CHECK(run_builtin(outcome.result));
  }
  outcome.outputs = TM_TRY(keep_outputs());
  outcome.succeeded = true;
  return outcome;
}

Result<void> Attempt::make_folders() {
  TM_CHECK(make_folder(folder_));
  for (const auto* part : {"inputs", "outputs", "tmp"}) TM_CHECK(make_folder(folder_ / part));
  return make_folder(log_file_.parent_path());
}

Result<void> Attempt::bring_code() {
  TM_CHECK(make_folder(folder_ / "code"));
  for (const auto& [path, text] : *task_.code)
    TM_CHECK(write_plainly(TM_TRY(place_beneath(folder_ / "code", path)), text));
  json::Object params = task_.params;
  for (const auto& entry : task_.with) params[entry.key()] = entry.value();
  return write_plainly(folder_ / "params.json", json::serialize(params));
}

Result<void> Attempt::bring_inputs() {
  for (const auto& [name, output] : task_.inputs) {
    TM_CHECK(
        engine_.blobs.copy_to(blobs::BlobId::trusted(output.blob), TM_TRY(place_beneath(folder_ / "inputs", name))));
  }
  return {};
}

jobs::ProcessSpec Attempt::process_spec() const {
  const Options& options = engine_.options;
  const Limits& limits = options.limits;
  jobs::ProcessSpec spec;
  spec.argv = task_.argv;
  if (spec.argv.front() == "python") spec.argv.front() = options.python;
  spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"},
              {"HOME", folder_.string()},
              {"TMPDIR", (folder_ / "tmp").string()},
              {"LANG", "C.UTF-8"},
              {"PYTHONUNBUFFERED", "1"},  // so that the log can be read while the step runs
              {"TIDEMILL_WORK", folder_.string()},
              {"TIDEMILL_PIPELINE_RUN", task_.run.str()},
              {"TIDEMILL_STEP", task_.step},
              {"TIDEMILL_ATTEMPT", std::to_string(task_.attempt)}};
  if (options.url) {
    const std::string url = options.url();
    for (const auto* name : {"TIDEMILL_URL", "MLFLOW_TRACKING_URI"}) spec.env[name] = url;
    for (const auto* name : {"TIDEMILL_TOKEN", "MLFLOW_TRACKING_TOKEN"}) spec.env[name] = task_.token;
  }
  for (const auto& [name, value] : options.env) spec.env[name] = value;
  for (const auto& [name, value] : task_.env) spec.env[name] = value;
  spec.work_folder = folder_;
  spec.log_file = log_file_;
  spec.lock_file = engine_.lock_file(task_.run, task_.step);
  spec.mark = Engine::mark(task_.run, task_.step);
  spec.time_limit_ms = task_.timeout_ms;
  spec.limits.memory_bytes = (task_.memory_mib > 0 ? task_.memory_mib : limits.memory_mib) << 20;
  spec.limits.processes = limits.processes;
  spec.limits.output_bytes = limits.log_bytes;
  spec.limits.file_bytes = limits.output_bytes_max;
  spec.sandbox = options.sandbox;
  return spec;
}

Result<void> Attempt::run_process(json::Object& result) {
  const jobs::ProcessSpec spec = process_spec();
  const auto process = TM_TRY(engine_.executor.start(spec));
  {
    const std::lock_guard lock(mutex_);
    process_ = process.get();
    if (killed_) process_->kill();
    if (cancelled_.load()) process_->cancel();
  }
  auto ended = process->wait();
  {
    const std::lock_guard lock(mutex_);
    process_ = nullptr;
  }
  const jobs::ProcessResult outcome = TM_TRY(std::move(ended));
  if (outcome.output_bytes > 0) {
    // What a person will look for after a power cut too. Failing to sync a log is no reason to fail the step.
    const FileDescriptor file(::open(log_file_.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.open() && ::fsync(file.get()) != 0)
      log::warn("pipelines", "could not sync a log", {{"file", log_file_.string()}});
  }
  if (!outcome.succeeded()) {
    const std::string line = last_line();
    return fail(Code::kFailedPrecondition, "pipelines.step_failed",
                jobs::describe(outcome, spec) + (line.empty() ? "" : " Its last line: " + line));
  }
  result = TM_TRY(read_result());
  return {};
}

Result<json::Object> Attempt::read_result() const {
  const auto path = folder_ / "outputs" / "result.json";
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return json::Object{};
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "pipelines.bad_result",
                fmt::format("outputs/result.json of step '{}' {}", task_.step, why),
                "Write one JSON object, without NaN.");
  };
  if (!S_ISREG(status.st_mode)) return refuse("is no plain file.");
  const auto text = read_file(path, static_cast<std::uint64_t>(engine_.options.limits.result_bytes_max));
  if (!text)
    return refuse(fmt::format("cannot be read or has more than {} bytes.", engine_.options.limits.result_bytes_max));
  auto object = json::decode<json::Object>(*text);
  if (!object) return refuse("is not an object: " + object.error().message);
  return object;
}

Result<void> Attempt::run_builtin(json::Object& result) {
  const auto found = engine_.builtins.find(task_.uses);
  if (found == engine_.builtins.end()) {
    return fail(Code::kUnimplemented, "pipelines.unknown_builtin",
                fmt::format("This server has no built-in '{}'.", task_.uses), "Add a new version of the pipeline.");
  }
  BuiltinCall call{task_.run,  task_.step, task_.pipeline,      task_.cause,
                   task_.with, {},         folder_ / "outputs", {task_.made_by, {access::Role::service}},
                   {},         {}};
  for (const auto& [name, output] : task_.inputs) call.inputs[name] = folder_ / "inputs" / name;
  const std::int64_t deadline_ms = engine_.clock.steady_ms() + task_.timeout_ms;
  const auto late = [this, deadline_ms] { return engine_.clock.steady_ms() >= deadline_ms; };
  call.cancelled = [this, late] { return cancelled_.load() || late(); };
  call.log = [this](const std::string& line) { log(line); };
  auto answer = found->second(call);
  if (!answer && late() && !cancelled_.load()) {
    return fail(Code::kFailedPrecondition, "pipelines.timed_out",
                fmt::format("It was told to end after its time limit of {:.1f} s.",
                            static_cast<double>(task_.timeout_ms) / 1'000));
  }
  result = TM_TRY(std::move(answer));
  return {};
}

Result<std::vector<Output>> Attempt::keep_outputs() {
  std::vector<Output> kept;
  for (const std::string& name : task_.outputs) {
    const auto path = TM_TRY(path_beneath(folder_ / "outputs", name));
    struct stat status {};
    if (::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
      return fail(Code::kFailedPrecondition, "pipelines.missing_output",
                  fmt::format("Step '{}' did not write its output '{}'.", task_.step, name),
                  "Write outputs/" + name + ", or remove it from the step's outputs.");
    }
    if (status.st_size > engine_.options.limits.output_bytes_max) {
      return fail(Code::kTooLarge, "pipelines.output_too_large",
                  fmt::format("The output '{}' of step '{}' has {} bytes; the limit is {}.", name, task_.step,
                              status.st_size, engine_.options.limits.output_bytes_max),
                  "Write less, or raise pipelines.output_bytes_max.");
    }
    const auto stored = TM_TRY(engine_.blobs.put_file(path));
    kept.push_back({name, stored.id.str(), static_cast<std::int64_t>(stored.bytes)});
  }
  return kept;
}

std::string Attempt::last_line() const {
  const FileDescriptor file(::open(log_file_.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (!file.open() || ::fstat(file.get(), &status) != 0) return {};
  std::string tail(static_cast<std::size_t>(kTailBytes), '\0');
  const ssize_t count = ::pread(file.get(), tail.data(), tail.size(), std::max<off_t>(0, status.st_size - kTailBytes));
  tail.resize(static_cast<std::size_t>(std::max<ssize_t>(0, count)));
  const std::size_t end = tail.find_last_not_of(" \r\n\t");
  if (end == std::string::npos) return {};
  const std::size_t begin = tail.find_last_of('\n', end);
  const std::string line =
      tail.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin + 1) + 1);
  return printable_utf8(line, kLineMax);
}

void Attempt::log(std::string_view line) const {
  const FileDescriptor file(::open(log_file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const std::string text = std::string(line) + "\n";
  if (!file.open() || ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    log::warn("pipelines", "could not write to a step's log", {{"file", log_file_.string()}});
  }
}

void Attempt::cancel() {
  cancelled_ = true;
  const std::lock_guard lock(mutex_);
  if (process_ != nullptr) process_->cancel();
}

void Attempt::kill() {
  cancelled_ = true;
  const std::lock_guard lock(mutex_);
  killed_ = true;
  if (process_ != nullptr) process_->kill();
}

}  // namespace tidemill::pipelines
