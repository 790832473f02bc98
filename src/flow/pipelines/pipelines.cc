#include "flow/pipelines/pipelines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/pipelines/coordinator.h"
#include "flow/pipelines/engine.h"
#include "flow/pipelines/events.h"
#include "flow/pipelines/schema.sql.h"

namespace tidemill::pipelines {
namespace {

constexpr const char* kRunJob = "pipelines.run";
constexpr const char* kSweepJob = "pipelines.sweep";
constexpr const char* kPassBuiltin = "pipelines.pass";  // its result is its `with`: to join branches, or to name values
constexpr std::int64_t kAlways =
    1'000'000'000;  // leading a run is tried again until it has ended: only the database can make it fail
constexpr std::uint64_t kCodeFileBytesMax = std::uint64_t{1} << 30;  // the limit was checked when it came
constexpr std::size_t kCauseMax = 500;
constexpr int kStepsParallelMin = 2;

std::unexpected<Error> unknown_pipeline(std::string_view name) {
  return fail(Code::kNotFound, "pipelines.unknown", "There is no pipeline '" + std::string(name.substr(0, 100)) + "'.",
              "See the list of pipelines.");
}

std::string digest_of(const NewVersion& version) {
  json::Object files;
  for (const auto& [path, text] : version.files) files[path] = sha256_hex(text);
  return sha256_hex(json::canonical(json::Object{{"definition", version.definition}, {"files", std::move(files)}}));
}

Result<Version> shown(const store::VersionRow& row, const Plan& plan) {
  Version version{row.pipeline,   row.number,  row.digest, plan.definition.description, plan.definition.params, {}, {},
                  row.definition, row.made_by, row.made_ms};
  for (const auto& [path, blob] : row.files) version.files.push_back(path);
  for (std::size_t i = 0; i < plan.definition.steps.size(); ++i) {
    const StepDefinition& step = plan.definition.steps[i];
    StepShape shape{step.name, step.uses.empty() ? "run" : step.uses, {}};
    for (const std::size_t need : plan.needs[i]) shape.needs.push_back(plan.definition.steps[need].name);
    version.steps.push_back(std::move(shape));
  }
  return version;
}

// Leads the run of a job from where it stands to its end.
Result<json::Object> lead_run(Engine& engine, jobs::Context& context) {
  const auto id = PipelineRunId::trusted(std::string(context.job().payload.at("run").as_string()));
  store::VersionRow version;
  Run run = TM_TRY(engine.database.read([&](sql::Tx& tx) -> Result<Run> {
    auto found = TM_TRY(store::find_run(tx, id));
    if (!found) return unknown_run(id);
    found->steps = TM_TRY(store::list_steps(tx, id));
    auto row = TM_TRY(store::find_version(tx, found->pipeline, found->version));
    if (!row) return unknown_pipeline(found->pipeline);
    version = *std::move(row);
    return *std::move(found);
  }));
  if (run.finished_ms) return json::Object{{"state", enum_name(run.state)}};  // it ended, and then the server did
  Plan plan = TM_TRY(engine.plan_of(version));
  auto code = TM_TRY(engine.code_of(version));
  return Coordinator(engine, context, std::move(run), std::move(plan), std::move(code)).lead();
}

// Removes the work folders of runs that have ended.
Result<json::Object> sweep(Engine& engine) {
  std::int64_t removed = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(engine.options.folder / "work", ignored)) {
    const auto id = PipelineRunId::parse(entry.path().filename().string());
    if (!id) continue;
    const auto run = TM_TRY(engine.database.read([&](sql::Tx& tx) { return store::find_run(tx, *id); }));
    if (run && !run->finished_ms) continue;
    std::filesystem::remove_all(entry.path(), ignored);
    ++removed;
  }
  return json::Object{{"removed", removed}};
}

}  // namespace

std::unexpected<Error> unknown_run(const PipelineRunId& id) {
  return fail(Code::kNotFound, "pipelines.unknown_run", "There is no pipeline run '" + id.str() + "'.",
              "See the list of runs.");
}

Engine::Engine(sql::Database& database_in, events::Events& events_in, access::Access& access_in, jobs::Jobs& jobs_in,
               blobs::Store& blobs_in, const Clock& clock_in, Options options_in)
    : database(database_in),
      events(events_in),
      access(access_in),
      jobs(jobs_in),
      blobs(blobs_in),
      clock(clock_in),
      options(std::move(options_in)),
      executor(options.executor),
      slots(options.limits.steps_parallel > 0
                ? static_cast<int>(options.limits.steps_parallel)
                : std::max(kStepsParallelMin, static_cast<int>(std::thread::hardware_concurrency()))) {}

std::filesystem::path Engine::log_file(const PipelineRunId& run, std::string_view step, std::int64_t attempt) const {
  return log_folder(run) / fmt::format("{}.{}.log", step, attempt);
}

std::filesystem::path Engine::lock_file(const PipelineRunId& run, std::string_view step) const {
  return work_folder(run) / fmt::format("{}.lock", step);
}

std::set<std::string> Engine::builtin_names() const {
  std::set<std::string> names;
  for (const auto& [name, function] : builtins) names.insert(name);
  return names;
}

Result<Plan> Engine::plan_of(const store::VersionRow& version) const {
  auto names = builtin_names();
  // What was accepted once stays so, whatever the limits are now.
  Limits any_size;
  any_size.definition_bytes_max = any_size.steps_max = std::numeric_limits<std::int64_t>::max();
  auto plan = parse_definition(version.definition, names, any_size);
  while (!plan && plan.error().reason == "pipelines.unknown_builtin") {
    // The message names it; details carry it.
    const auto missing = plan.error().details.find("builtin");
    if (missing == plan.error().details.end() || !names.insert(missing->second).second) break;
    plan = parse_definition(version.definition, names, any_size);
  }
  return plan;
}

Result<std::shared_ptr<const CodeFiles>> Engine::code_of(const store::VersionRow& version) const {
  auto code = std::make_shared<CodeFiles>();
  for (const auto& [path, blob] : version.files) {
    (*code)[path] = TM_TRY(blobs.read(blobs::BlobId::trusted(blob), kCodeFileBytesMax));
  }
  return std::shared_ptr<const CodeFiles>(std::move(code));
}

Pipelines::Pipelines(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Pipelines::~Pipelines() = default;

Result<std::unique_ptr<Pipelines>> Pipelines::create(sql::Database& database, events::Events& events,
                                                     access::Access& access, jobs::Jobs& jobs, blobs::Store& blobs,
                                                     const Clock& clock, Options options) {
  TM_CHECK(database.migrate("pipelines", kSchemaSql));
  for (const auto* folder : {"work", "logs"}) TM_CHECK(make_folder(options.folder / folder));
  // A step runs elsewhere, so what is relative to us must not stay so.
  if (options.python.find('/') != std::string::npos) options.python = std::filesystem::absolute(options.python);
  auto engine = std::make_unique<Engine>(database, events, access, jobs, blobs, clock, std::move(options));
  jobs.handle(
      kRunJob, [raw = engine.get()](jobs::Context& context) { return lead_run(*raw, context); },
      static_cast<int>(engine->options.limits.runs_parallel));
  jobs.handle(kSweepJob, [raw = engine.get()](jobs::Context&) { return sweep(*raw); });
  auto swept = database.write([&](sql::Tx& tx) { return jobs.enqueue(tx, {.kind = kSweepJob, .key = "sweep"}); });
  if (!swept && swept.error().reason != "jobs.key_taken") return std::unexpected(swept.error());
  engine->builtins[kPassBuiltin] = [](const BuiltinCall& call) -> Result<json::Object> { return call.with; };
  return std::unique_ptr<Pipelines>(new Pipelines(std::move(engine)));
}

void Pipelines::add_builtin(std::string name, Builtin function) {
  engine_->builtins[std::move(name)] = std::move(function);
}

std::vector<std::string> Pipelines::builtins() const {
  const auto names = engine_->builtin_names();
  return {names.begin(), names.end()};
}

Result<Version> Pipelines::add(const access::Actor& actor, const NewVersion& version) {
  TM_CHECK(check_files(version.files, engine_->options.limits));
  const Plan plan = TM_TRY(parse_definition(version.definition, engine_->builtin_names(), engine_->options.limits));
  store::VersionRow row{plan.definition.name,   0, digest_of(version), version.definition, {}, actor.name,
                        engine_->clock.now_ms()};
  for (const auto& [path, text] : version.files) row.files[path] = TM_TRY(engine_->blobs.put_bytes(text)).id.str();
  return engine_->database.write([&](sql::Tx& tx) -> Result<Version> {
    if (const auto known = TM_TRY(store::find_version_by_digest(tx, row.pipeline, row.digest)))
      return shown(*known, plan);
    auto pipeline =
        TM_TRY(store::find_pipeline(tx, row.pipeline)).value_or(Pipeline{row.pipeline, "", 0, actor.name, row.made_ms});
    pipeline.description = plan.definition.description;
    row.number = ++pipeline.version;
    TM_CHECK(store::put_pipeline(tx, pipeline));
    TM_CHECK(store::insert_version(tx, row));
    TM_CHECK(engine_->events.append(tx, {kVersionAddedEvent,
                                         "pipelines/" + row.pipeline,
                                         actor.name,
                                         {{"version", row.number}, {"digest", row.digest}}}));
    return shown(row, plan);
  });
}

Result<std::vector<Pipeline>> Pipelines::list() {
  return engine_->database.read([](sql::Tx& tx) { return store::list_pipelines(tx); });
}

Result<Version> Pipelines::version(std::string_view pipeline, std::optional<std::int64_t> number) {
  const auto row = TM_TRY(engine_->database.read([&](sql::Tx& tx) -> Result<store::VersionRow> {
    const auto head = TM_TRY(store::find_pipeline(tx, pipeline));
    if (!head) return unknown_pipeline(pipeline);
    auto found = TM_TRY(store::find_version(tx, pipeline, number.value_or(head->version)));
    if (found) return *std::move(found);
    return fail(Code::kNotFound, "pipelines.unknown_version",
                fmt::format("Pipeline '{}' has no version {}.", pipeline, *number),
                fmt::format("The newest is {}.", head->version));
  }));
  return shown(row, TM_TRY(engine_->plan_of(row)));
}

Result<Run> Pipelines::start(const access::Actor& actor, std::string_view pipeline, const NewRun& run) {
  return engine_->database.write([&](sql::Tx& tx) { return start(tx, actor, pipeline, run); });
}

Result<Run> Pipelines::start(sql::Tx& tx, const access::Actor& actor, std::string_view pipeline,
                             const NewRun& request) {
  const std::int64_t params_max = engine_->options.limits.params_bytes_max;
  if (std::cmp_greater(json::serialize(request.params).size(), params_max)) {
    return fail(Code::kTooLarge, "pipelines.params_too_large",
                fmt::format("The params have more than {} bytes.", params_max), "Keep data in datasets.");
  }
  const auto head = TM_TRY(store::find_pipeline(tx, pipeline));
  if (!head) return unknown_pipeline(pipeline);
  const std::int64_t number = request.version.value_or(head->version);
  const auto row = TM_TRY(store::find_version(tx, pipeline, number));
  if (!row) {
    return fail(Code::kNotFound, "pipelines.unknown_version",
                fmt::format("Pipeline '{}' has no version {}.", pipeline, number),
                fmt::format("The newest is {}.", head->version));
  }
  const Plan plan = TM_TRY(engine_->plan_of(*row));
  Run run;
  run.id = PipelineRunId::generate();
  run.pipeline = head->name;
  run.version = number;
  run.params = TM_TRY(complete_params(plan.definition, request.params));
  run.cause = printable_utf8(request.cause.empty() ? "asked by " + actor.name : request.cause, kCauseMax);
  run.made_by = actor.name;
  run.queued_ms = engine_->clock.now_ms();
  const auto job = TM_TRY(engine_->jobs.enqueue(tx, {.kind = kRunJob,
                                                     .key = run.id.str(),
                                                     .payload = {{"run", run.id.str()}},
                                                     .not_before_ms = 0,
                                                     .attempts_max = kAlways}));
  TM_CHECK(store::insert_run(tx, run, job.str()));
  for (std::size_t i = 0; i < plan.definition.steps.size(); ++i) {
    TM_CHECK(store::insert_step(tx, run.id, i, plan.definition.steps[i].name));
    run.steps.emplace_back().name = plan.definition.steps[i].name;
  }
  TM_CHECK(engine_->events.append(tx, {kRunQueuedEvent,
                                       "pipelines/" + run.pipeline + "/runs/" + run.id.str(),
                                       actor.name,
                                       {{"run", run.id.str()},
                                        {"pipeline", run.pipeline},
                                        {"version", run.version},
                                        {"params", run.params},
                                        {"cause", run.cause}}}));
  return run;
}

Result<Run> Pipelines::run(const PipelineRunId& id) {
  return engine_->database.read([&](sql::Tx& tx) -> Result<Run> {
    auto run = TM_TRY(store::find_run(tx, id));
    if (!run) return unknown_run(id);
    run->steps = TM_TRY(store::list_steps(tx, id));
    return *std::move(run);
  });
}

Result<std::vector<Run>> Pipelines::runs(const RunFilter& filter) {
  if (filter.limit < 1 || filter.limit > kRunsMax) {
    return fail(Code::kInvalidArgument, "pipelines.bad_limit",
                fmt::format("The limit {} is out of range.", filter.limit), fmt::format("Use 1 to {}.", kRunsMax));
  }
  return engine_->database.read([&](sql::Tx& tx) { return store::list_runs(tx, filter); });
}

Result<std::int64_t> Pipelines::live_runs() {
  return engine_->database.read([](sql::Tx& tx) { return store::count_live_runs(tx); });
}

Result<Run> Pipelines::cancel(const access::Actor& actor, const PipelineRunId& id) {
  TM_CHECK(engine_->database.write([&](sql::Tx& tx) -> Result<void> {
    auto run = TM_TRY(store::find_run(tx, id));
    if (!run) return unknown_run(id);
    if (run->finished_ms) {
      return fail(Code::kFailedPrecondition, "pipelines.run_ended",
                  fmt::format("Run {} is {} already.", id.str(), enum_name(run->state)),
                  "Only a queued or running one can be cancelled.");
    }
    const std::string subject = "pipelines/" + run->pipeline + "/runs/" + id.str();
    TM_CHECK(engine_->events.append(tx, {kRunCancelledEvent, subject, actor.name, {{"run", id.str()}}}));
    TM_CHECK(engine_->jobs.cancel(tx, jobs::JobId::trusted(TM_TRY(store::job_of(tx, id)))));
    const auto job_lives = TM_TRY(engine_->jobs.is_running(tx, jobs::JobId::trusted(TM_TRY(store::job_of(tx, id)))));
    if (job_lives) return {};  // its coordinator ends the run
    return end_cancelled(tx, *run, actor);
  }));
  return run(id);
}

Result<void> Pipelines::end_cancelled(sql::Tx& tx, Run& run, const access::Actor& actor) {
  run.state = RunState::cancelled;
  run.message = "It was cancelled.";
  run.finished_ms = engine_->clock.now_ms();
  run.steps = TM_TRY(store::list_steps(tx, run.id));
  for (std::size_t i = 0; i < run.steps.size(); ++i) {
    Step& step = run.steps[i];
    if (step.state != StepState::waiting && step.state != StepState::running) continue;
    step.state = StepState::cancelled;
    step.message = run.message;
    step.finished_ms = run.finished_ms;
    TM_CHECK(store::update_step(tx, run.id, i, step));
  }
  TM_CHECK(store::update_run(tx, run));
  TM_CHECK(engine_->events.append(tx, {kRunFinishedEvent,
                                       "pipelines/" + run.pipeline + "/runs/" + run.id.str(),
                                       actor.name,
                                       {{"run", run.id.str()},
                                        {"pipeline", run.pipeline},
                                        {"version", run.version},
                                        {"cause", run.cause},
                                        {"state", enum_name(run.state)},
                                        {"message", run.message}}}));
  return {};
}

Result<Pipelines::LogPart> Pipelines::log(const PipelineRunId& id, std::string_view step_name, std::int64_t attempt,
                                          std::int64_t offset) {
  const Run found = TM_TRY(run(id));
  const auto step = std::ranges::find(found.steps, step_name, &Step::name);
  if (step == found.steps.end()) {
    return fail(Code::kNotFound, "pipelines.unknown_step",
                fmt::format("Run {} has no step '{}'.", id.str(), step_name.substr(0, 100)), "See the run.");
  }
  LogPart part;
  part.attempt = attempt == 0 ? step->attempts : attempt;
  if (part.attempt < 1 || part.attempt > step->attempts) {
    return fail(Code::kNotFound, "pipelines.no_log",
                fmt::format("Step '{}' of run {} has no attempt {}.", step->name, id.str(), part.attempt),
                step->attempts == 0 ? "It has not started." : fmt::format("There are {}.", step->attempts));
  }
  part.ended = step->state != StepState::running || part.attempt < step->attempts;
  const auto path = engine_->log_file(id, step->name, part.attempt);
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!file.open() || ::fstat(file.get(), &status) != 0) return part;  // it has written nothing yet
  const std::int64_t from = std::clamp<std::int64_t>(offset, 0, status.st_size);
  part.text.resize(static_cast<std::size_t>(std::min<std::int64_t>(status.st_size - from, kLogBytesMax)));
  const ssize_t count = ::pread(file.get(), part.text.data(), part.text.size(), from);
  if (count < 0) return fail(errno_error("read", path, errno));
  part.text.resize(static_cast<std::size_t>(count));
  part.next_offset = from + count;
  return part;
}

Result<Output> Pipelines::output(const PipelineRunId& id, std::string_view step_name, std::string_view name) {
  const Run found = TM_TRY(run(id));
  for (const Step& step : found.steps) {
    if (step.name != step_name) continue;
    for (const Output& output : step.outputs) {
      if (output.name == name) return output;
    }
  }
  return fail(
      Code::kNotFound, "pipelines.unknown_output",
      fmt::format("Step '{}' of run {} has no output '{}'.", step_name.substr(0, 100), id.str(), name.substr(0, 100)),
      "See the run.");
}

}  // namespace tidemill::pipelines
