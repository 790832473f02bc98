#include "flow/pipelines/coordinator.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/expand.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "flow/pipelines/events.h"

namespace tidemill::pipelines {
namespace {

constexpr std::int64_t kOrphanWaitMs = 30'000;
constexpr std::int64_t kWaitMaxMs = 60'000;
constexpr std::size_t kMessageMax = 2'000;
constexpr std::int64_t kRetryDelayMaxMs = 600'000;

bool ended(StepState state) { return state != StepState::waiting && state != StepState::running; }

std::string subject_of(const Run& run) { return "pipelines/" + run.pipeline + "/runs/" + run.id.str(); }

}  // namespace

Coordinator::Coordinator(Engine& engine, jobs::Context& context, Run run, Plan plan,
                         std::shared_ptr<const CodeFiles> code)
    : engine_(engine),
      context_(context),
      plan_(std::move(plan)),
      code_(std::move(code)),
      token_(engine.options.url ? engine.access.lend_token(run.made_by) : ""),
      run_(std::move(run)) {
  engine_.slots.watch(this, [this] { wake(); });
  context_.on_interrupt([this] { wake(); });
}

Coordinator::~Coordinator() {
  context_.on_interrupt({});
  for (auto& [step, live] : live_) live.attempt->kill();
  for (auto& [step, live] : live_) live.thread.join();
  engine_.slots.unwatch(this);
  for (std::size_t i = 0; i < starting_.size() + live_.size(); ++i) engine_.slots.give_back();
  if (!token_.empty()) engine_.access.drop_token(token_);
}

Result<json::Object> Coordinator::lead() {
  TM_CHECK(settle_earlier_life());
  if (run_.state == RunState::queued) {
    run_.state = RunState::running;
    run_.started_ms = engine_.clock.now_ms();
    run_changed_ = true;
  } else {
    announced_ = true;
  }
  while (true) {
    if (context_.stopping()) return fail(jobs::Context::interrupted());
    if (context_.cancelled() && !cancelling_) cancel_all();
    take_outcomes();
    decide();
    if (all_ended() && live_.empty()) finish_run();
    if (!changed_.empty() || run_changed_) TM_CHECK(write());
    if (run_.finished_ms) return json::Object{{"state", enum_name(run_.state)}};
    launch();
    wait();
  }
}

Result<void> Coordinator::settle_earlier_life() {
  for (std::size_t i = 0; i < run_.steps.size(); ++i) {
    Step& step = run_.steps[i];
    if (step.state != StepState::running) continue;
    const int killed = TM_TRY(
        jobs::settle_orphans(engine_.lock_file(run_.id, step.name), Engine::mark(run_.id, step.name), kOrphanWaitMs));
    if (killed > 0)
      log::warn("pipelines", "killed what an earlier attempt left",
                {{"step", step.name}, {"processes", std::to_string(killed)}});
    std::error_code ignored;  // the folder of an attempt is never used again
    std::filesystem::remove_all(engine_.work_folder(run_.id) / fmt::format("{}.{}", step.name, step.attempts), ignored);
    step.state = StepState::waiting;
    step.message = fmt::format("The server ended during attempt {}.", step.attempts);
  }
  return {};
}

void Coordinator::take_outcomes() {
  std::vector<std::pair<std::size_t, Outcome>> outcomes;
  {
    const std::lock_guard lock(mutex_);
    outcomes.swap(outcomes_);
  }
  for (auto& [step, outcome] : outcomes) {
    live_.at(step).thread.join();
    live_.erase(step);
    engine_.slots.give_back();
    apply(step, std::move(outcome));
  }
}

void Coordinator::apply(std::size_t index, Outcome outcome) {
  Step& step = run_.steps[index];
  if (outcome.succeeded) {
    step.result = std::move(outcome.result);
    step.outputs = std::move(outcome.outputs);
    finish_step(index, StepState::succeeded, std::move(outcome.message));
    return;
  }
  cache_keys_.erase(index);
  if (cancelling_) {
    finish_step(index, StepState::cancelled, std::move(outcome.message));
    return;
  }
  ++step.failures;
  const std::int64_t retries = plan_.definition.steps[index].retries;
  if (step.failures > retries) {
    finish_step(index, StepState::failed, std::move(outcome.message));
    return;
  }
  const std::int64_t doublings = std::min<std::int64_t>(step.failures - 1, 20);
  const std::int64_t delay_ms =
      std::min(plan_.retry_delay_ms[index] << doublings, std::max(kRetryDelayMaxMs, plan_.retry_delay_ms[index]));
  retry_ms_[index] = engine_.clock.steady_ms() + delay_ms;
  step.state = StepState::waiting;
  step.message = printable_utf8(
      fmt::format("Attempt {} failed, {} more: {}", step.attempts, retries - step.failures + 1, outcome.message),
      kMessageMax);
  changed_.insert(index);
}

void Coordinator::finish_step(std::size_t index, StepState state, std::string message) {
  Step& step = run_.steps[index];
  step.state = state;
  step.message = printable_utf8(message, kMessageMax);
  step.finished_ms = engine_.clock.now_ms();
  changed_.insert(index);
}

void Coordinator::decide() {
  // A step that is skipped or comes from the cache may make others ready, so go on until nothing changes.
  bool moved = true;
  while (moved) {
    moved = false;
    for (std::size_t i = 0; i < run_.steps.size(); ++i) {
      if (run_.steps[i].state == StepState::waiting && decide_step(i)) moved = true;
    }
  }
}

// Returns whether the step has moved on.
bool Coordinator::decide_step(std::size_t index) {
  if (cancelling_) {
    finish_step(index, StepState::cancelled, "The run was cancelled.");
    return true;
  }
  for (const std::size_t need : plan_.needs[index]) {
    const Step& needed = run_.steps[need];
    if (!ended(needed.state)) return false;
    if (needed.state != StepState::succeeded) {
      finish_step(index, StepState::skipped,
                  fmt::format("Step '{}', which it needs, {} {}.", needed.name,
                              needed.state == StepState::failed ? "has" : "was", enum_name(needed.state)));
      return true;
    }
  }
  if (const auto retry = retry_ms_.find(index); retry != retry_ms_.end() && engine_.clock.steady_ms() < retry->second)
    return false;
  const auto is_wanted = wanted(index);
  if (!is_wanted) {
    finish_step(index, StepState::failed, is_wanted.error().text());
    return true;
  }
  if (!*is_wanted) {
    finish_step(index, StepState::skipped, "Its condition `when` is false.");
    return true;
  }
  start_or_reuse(index);
  return run_.steps[index].state != StepState::waiting;
}

Result<bool> Coordinator::wanted(std::size_t index) const {
  const auto& when = plan_.definition.steps[index].when;
  if (!when) return true;
  const json::Value value = TM_TRY(expand(*when, [this](std::string_view path) { return look_up(path); }));
  if (const bool* flag = value.if_bool()) return *flag;
  if (value == "true") return true;
  if (value == "false") return false;
  return fail(Code::kInvalidArgument, "pipelines.bad_condition",
              fmt::format("The condition `when` of step '{}' is {}.", run_.steps[index].name,
                          json::serialize(value).substr(0, 100)),
              "Let it be true or false.");
}

void Coordinator::start_or_reuse(std::size_t index) {
  Step& step = run_.steps[index];
  auto task = make_task(index);
  if (!task) {
    finish_step(index, StepState::failed, task.error().text());
    return;
  }
  if (plan_.definition.steps[index].cache) {
    std::string key = cache_key(*task);
    if (auto cached = find_cached(key)) {
      step.cached = true;
      step.result = std::move(cached->result);
      step.outputs = std::move(cached->outputs);
      finish_step(index, StepState::succeeded,
                  fmt::format("Reused from step '{}' of run {}.", cached->step, cached->run));
      return;
    }
    cache_keys_[index] = std::move(key);
  }
  if (!engine_.slots.try_take()) return;  // one that becomes free wakes us
  ++step.attempts;
  task->attempt = step.attempts;
  step.state = StepState::running;
  step.started_ms = engine_.clock.now_ms();
  step.finished_ms.reset();
  changed_.insert(index);
  starting_.emplace(index, *std::move(task));
}

Result<Task> Coordinator::make_task(std::size_t index) const {
  const StepDefinition& definition = plan_.definition.steps[index];
  const Lookup lookup = [this](std::string_view path) { return look_up(path); };
  Task task;
  task.run = run_.id;
  task.pipeline = run_.pipeline;
  task.cause = run_.cause;
  task.made_by = run_.made_by;
  task.token = token_;
  task.step = definition.name;
  task.uses = definition.uses;
  task.params = run_.params;
  task.outputs = definition.outputs;
  task.code = code_;
  task.timeout_ms = plan_.timeout_ms[index];
  task.memory_mib = definition.memory_mib;
  task.with = TM_TRY(expand(definition.with, lookup)).as_object();
  for (const json::Value& word : definition.run) {
    const json::Value value = TM_TRY(expand(word, lookup));
    task.argv.push_back(value.is_structured() ? json::serialize(value) : TM_TRY(scalar_text(value)));
  }
  for (const auto& [name, value] : definition.env) task.env[name] = TM_TRY(scalar_text(TM_TRY(expand(value, lookup))));
  for (const auto& [name, source] : definition.inputs) {
    const std::size_t slash = source.find('/');
    const auto maker = plan_.index_of(source.substr(0, slash));
    for (const Output& output : run_.steps[maker.value()].outputs) {
      if (output.name == source.substr(slash + 1)) task.inputs[name] = output;
    }
  }
  return task;
}

Result<json::Value> Coordinator::look_up(std::string_view path) const {
  if (path == "run.id") return json::Value(run_.id.str());
  if (path == "run.cause") return json::Value(run_.cause);
  if (path == "run.pipeline") return json::Value(run_.pipeline);
  if (path == "run.version") return json::Value(run_.version);
  if (path == "run.made_by") return json::Value(run_.made_by);
  if (path.starts_with("params.")) return value_at(run_.params, path.substr(7));
  // "steps.<name>.result[.<path>]": the definition was checked to have no other form.
  const std::size_t dot = path.find('.', 6);
  const Step& step = run_.steps[plan_.index_of(path.substr(6, dot - 6)).value()];
  const std::string_view rest = path.substr(dot + 1);
  auto value = value_at(step.result, rest == "result" ? std::string_view() : rest.substr(7));
  if (!value)
    value.error().message = fmt::format("The result of step '{}' lacks '{}'.", step.name,
                                        rest.substr(std::min<std::size_t>(7, rest.size())));
  return value;
}

std::string Coordinator::cache_key(const Task& task) const {
  json::Object inputs;
  for (const auto& [name, output] : task.inputs) inputs[name] = output.blob;
  json::Object code;
  if (task.uses.empty()) {
    for (const auto& [path, text] : *task.code) code[path] = sha256_hex(text);
  }
  const json::Object all{
      {"form", 1},
      {"uses", task.uses},
      {"argv", json::to_json(task.argv)},
      {"env", json::to_json(task.env)},
      {"with", task.with},
      {"params", task.uses.empty() ? task.params : json::Object{}},  // a process may read them all from params.json
      {"inputs", std::move(inputs)},
      {"outputs", json::to_json(task.outputs)},
      {"code", std::move(code)},
      {"environment", engine_.options.environment},
      {"python", engine_.options.python}};
  return sha256_hex(json::canonical(all));
}

std::optional<store::Cached> Coordinator::find_cached(std::string_view key) {
  auto cached = engine_.database.read([&](sql::Tx& tx) { return store::find_cached(tx, key); });
  if (!cached || !*cached) return std::nullopt;
  for (const Output& output : (*cached)->outputs) {
    const auto there = engine_.blobs.has(blobs::BlobId::trusted(output.blob));
    if (!there || !*there) return std::nullopt;
  }
  return *std::move(cached);
}

void Coordinator::cancel_all() {
  cancelling_ = true;
  for (auto& [step, live] : live_) live.attempt->cancel();
}

bool Coordinator::all_ended() const {
  return std::ranges::all_of(run_.steps, [](const Step& step) { return ended(step.state); });
}

void Coordinator::finish_run() {
  run_.state = RunState::succeeded;
  for (const Step& step : run_.steps) {
    if (step.state == StepState::failed && run_.state == RunState::succeeded) {
      run_.state = RunState::failed;
      run_.message = fmt::format("Step '{}' failed. {}", step.name, step.message);
    } else if (step.state == StepState::cancelled) {
      run_.state = RunState::cancelled;
      run_.message = "It was cancelled.";
      break;
    }
  }
  run_.finished_ms = engine_.clock.now_ms();
  run_changed_ = true;
  std::error_code ignored;  // what cannot be removed is swept at the next start
  std::filesystem::remove_all(engine_.work_folder(run_.id), ignored);
}

Result<void> Coordinator::write() {
  TM_CHECK(engine_.database.write([&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(context_.check(tx));
    const json::Object head{
        {"run", run_.id.str()}, {"pipeline", run_.pipeline}, {"version", run_.version}, {"cause", run_.cause}};
    if (run_changed_) TM_CHECK(store::update_run(tx, run_));
    if (run_changed_ && !announced_)
      TM_CHECK(engine_.events.append(tx, {kRunStartedEvent, subject_of(run_), run_.made_by, head}));
    for (const std::size_t step : changed_) TM_CHECK(write_step(tx, step));
    if (run_.finished_ms) {
      json::Object payload = head;
      payload["state"] = enum_name(run_.state);
      payload["message"] = run_.message;
      TM_CHECK(engine_.events.append(tx, {kRunFinishedEvent, subject_of(run_), run_.made_by, payload}));
    }
    return {};
  }));
  if (run_changed_) announced_ = true;
  run_changed_ = false;
  changed_.clear();
  return {};
}

Result<void> Coordinator::write_step(sql::Tx& tx, std::size_t index) {
  const Step& step = run_.steps[index];
  TM_CHECK(store::update_step(tx, run_.id, index, step));
  json::Object payload{{"run", run_.id.str()}, {"step", step.name}, {"attempt", step.attempts}};
  if (step.state == StepState::running) {
    TM_CHECK(engine_.events.append(tx, {kStepStartedEvent, subject_of(run_), run_.made_by, payload}));
    return {};
  }
  payload["state"] = enum_name(step.state);
  payload["cached"] = step.cached;
  payload["message"] = step.message;
  payload["outputs"] = json::to_json(step.outputs);
  TM_CHECK(engine_.events.append(tx, {kStepFinishedEvent, subject_of(run_), run_.made_by, payload}));
  if (const auto key = cache_keys_.find(index); key != cache_keys_.end() && step.state == StepState::succeeded) {
    TM_CHECK(store::put_cached(tx, key->second, {step.result, step.outputs, run_.id.str(), step.name},
                               engine_.clock.now_ms()));
  }
  return {};
}

void Coordinator::launch() {
  for (auto& [step, task] : starting_) {
    Live live{std::make_unique<Attempt>(engine_, std::move(task)), {}};
    if (cancelling_) live.attempt->cancel();
    live.thread = std::thread([this, index = step, attempt = live.attempt.get()] {
      Outcome outcome = attempt->run();
      {
        const std::lock_guard lock(mutex_);
        outcomes_.emplace_back(index, std::move(outcome));
        awake_ = true;
      }
      woken_.notify_all();
    });
    live_.emplace(step, std::move(live));
  }
  starting_.clear();
}

void Coordinator::wait() {
  std::int64_t wait_ms = kWaitMaxMs;
  const std::int64_t now_ms = engine_.clock.steady_ms();
  for (const auto& [step, at_ms] : retry_ms_) {
    if (run_.steps[step].state == StepState::waiting) wait_ms = std::clamp<std::int64_t>(at_ms - now_ms, 1, wait_ms);
  }
  std::unique_lock lock(mutex_);
  woken_.wait_for(lock, std::chrono::milliseconds(wait_ms), [&] { return awake_; });
  awake_ = false;
}

void Coordinator::wake() {
  {
    const std::lock_guard lock(mutex_);
    awake_ = true;
  }
  woken_.notify_all();
}

}  // namespace tidemill::pipelines
