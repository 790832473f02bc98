#include "flow/monitors/monitors.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "flow/monitors/calendar.h"
#include "flow/monitors/canaries.h"
#include "flow/monitors/evaluation.h"
#include "flow/monitors/schema.sql.h"
#include "flow/monitors/store.h"

namespace tidemill::monitors {
namespace {

constexpr std::int64_t kEmptyWindowsMax = 10'000;  // skipped at once when predictions pause for long

std::string subject_of(const std::string& monitor) { return "monitors/" + monitor; }

Error unknown_monitor(std::string_view name) {
  return {Code::kNotFound,
          "monitors.unknown",
          fmt::format("There is no monitor '{}'.", name.substr(0, 128)),
          "List them with 'tidemill monitors list'.",
          {{"monitor", std::string(name.substr(0, 128))}}};
}

Result<void> check_definition(const NewMonitor& monitor) {
  TM_CHECK(check_name("monitor", monitor.name));
  TM_CHECK(Calendar::create(monitor.window, monitor.utc_offset_minutes));
  TM_CHECK(parse_duration_ms(monitor.maturity));
  const auto& drift = monitor.drift;
  if (monitor.labels_min < 1 || drift.psi_alert <= 0 || drift.score_psi_alert <= 0 || drift.rows_min < 1 ||
      drift.features_min < 1) {
    return fail(Code::kInvalidArgument, "monitors.bad_limit",
                "labels_min, psi_alert, score_psi_alert, rows_min and features_min must be positive.",
                "Correct that value.");
  }
  return {};
}

json::Object closed_payload(const Window& window) {
  json::Object payload{{"deployment", window.deployment}, {"window", window.label},
                       {"start_ms", window.start_ms},     {"end_ms", window.end_ms},
                       {"rows", window.served.rows},      {"labelled", window.served.labelled},
                       {"champion", window.champion},     {"alerts", window.alert_count}};
  if (window.served.auc) payload["auc"] = *window.served.auc;
  if (window.served.brier) payload["brier"] = *window.served.brier;
  return payload;
}

json::Object alert_payload(const Window& window) {
  json::Object payload = closed_payload(window);
  payload["cause"] = describe(window.alerts);
  payload["causes"] = json::to_json(window.alerts);
  return payload;
}

}  // namespace

struct Monitors::Due {
  Span span;
  std::optional<std::int64_t> next_start_ms;  // as it was read
};

Result<std::unique_ptr<Monitors>> Monitors::create(Parts parts, Options options) {
  TM_CHECK(parts.database.migrate("monitors", kSchemaSql));
  return std::unique_ptr<Monitors>(new Monitors(parts, options));
}

Monitors::~Monitors() { stop(); }

Result<Monitor> Monitors::add(const access::Actor& actor, const NewMonitor& wanted) {
  TM_CHECK(check_definition(wanted));
  TM_CHECK(parts_.deployments.get(wanted.deployment));
  if (!wanted.requirement.empty()) TM_CHECK(parts_.requirements.active(wanted.requirement));
  Monitor monitor;
  static_cast<NewMonitor&>(monitor) = wanted;
  monitor.made_by = actor.name;
  monitor.made_ms = parts_.clock.now_ms();
  TM_CHECK(parts_.database.write([&](sql::Tx& tx) -> Result<void> {
    auto inserted = insert_monitor(tx, monitor);
    if (!inserted && inserted.error().code == Code::kAlreadyExists) {
      return fail(Code::kAlreadyExists, "monitors.taken", fmt::format("There is a monitor '{}' already.", monitor.name),
                  "Choose another name.");
    }
    TM_CHECK(inserted);
    TM_CHECK(parts_.events.append(
        tx, {"monitors.created", subject_of(monitor.name), actor.name, json::to_json(wanted).as_object()}));
    return {};
  }));
  return monitor;
}

Result<Monitor> Monitors::get(std::string_view name) {
  auto found = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return find_monitor(tx, name); }));
  if (found) return std::move(found->monitor);
  return fail(unknown_monitor(name));
}

Result<std::vector<Monitor>> Monitors::list() {
  std::vector<Monitor> monitors;
  for (auto& stored : TM_TRY(parts_.database.read([](sql::Tx& tx) { return all_monitors(tx); }))) {
    monitors.push_back(std::move(stored.monitor));
  }
  return monitors;
}

Result<std::vector<Window>> Monitors::windows(std::string_view name) {
  return parts_.database.read([&](sql::Tx& tx) -> Result<std::vector<Window>> {
    if (!TM_TRY(find_monitor(tx, name))) return fail(unknown_monitor(name));
    return all_windows(tx, name);
  });
}

// --- windows ---

std::int64_t Monitors::now_of(const Monitor& monitor) const {
  return monitor.time == Time::wall ? parts_.clock.now_ms() : parts_.predictions.stats(monitor.deployment).watermark_ms;
}

Result<std::optional<Upcoming>> Monitors::open_window(const Monitor& monitor,
                                                      std::optional<std::int64_t> next_start_ms) const {
  const auto stats = parts_.predictions.stats(monitor.deployment);
  if (stats.first_ms == 0) return std::optional<Upcoming>();  // labels may have come, but nothing was asked yet
  const auto calendar = TM_TRY(Calendar::create(monitor.window, monitor.utc_offset_minutes));
  const std::int64_t maturity_ms = TM_TRY(parse_duration_ms(monitor.maturity));
  // The first window is the one of the oldest prediction.
  const Span span = calendar.at(next_start_ms.value_or(stats.first_ms));
  return std::optional(
      Upcoming{span.label, span.start_ms, span.end_ms, span.end_ms + maturity_ms, now_of(monitor), monitor.time});
}

Result<std::optional<Upcoming>> Monitors::upcoming(std::string_view name) {
  const auto found = TM_TRY(parts_.database.read([&](sql::Tx& tx) { return find_monitor(tx, name); }));
  if (!found) return fail(unknown_monitor(name));
  return open_window(found->monitor, found->next_start_ms);
}

Result<std::optional<Monitors::Due>> Monitors::due(const Monitor& monitor, std::optional<std::int64_t> next_start_ms) {
  const auto open = TM_TRY(open_window(monitor, next_start_ms));
  if (!open || open->now_ms < open->closes_ms) return std::optional<Due>();
  return std::optional(Due{Span{open->start_ms, open->end_ms, open->label}, next_start_ms});
}

Result<Window> Monitors::close(const Monitor& monitor, const Due& due) {
  const auto deployment = TM_TRY(parts_.deployments.get(monitor.deployment));
  const auto frame =
      TM_TRY(parts_.predictions.joined(monitor.deployment, {.from_ms = due.span.start_ms, .to_ms = due.span.end_ms}));
  const auto detail = TM_TRY(parts_.models.detail(deployment.model, deployment.champion));
  const auto baseline = TM_TRY(parts_.models.baseline(deployment.model, deployment.champion));
  std::optional<requirements::Requirement> requirement;
  if (!monitor.requirement.empty()) requirement = TM_TRY(parts_.requirements.active(monitor.requirement));
  Window window;
  if (frame.rows > 0) {
    window = TM_TRY(evaluate(monitor, due.span, {frame, deployment.champion, detail.columns, baseline, requirement}));
  } else {
    window.monitor = monitor.name;
    window.deployment = monitor.deployment;
    window.label = due.span.label;
    window.start_ms = due.span.start_ms;
    window.end_ms = due.span.end_ms;
    window.champion = deployment.champion;
  }
  window.closed_ms = parts_.clock.now_ms();
  return window;
}

Result<std::int64_t> Monitors::check_windows() {
  std::int64_t closed = 0;
  for (const auto& stored : TM_TRY(parts_.database.read([](sql::Tx& tx) { return all_monitors(tx); }))) {
    const Monitor& monitor = stored.monitor;
    std::optional<std::int64_t> next_start_ms = stored.next_start_ms;
    for (std::int64_t i = 0; i < kEmptyWindowsMax; ++i) {
      const auto due = TM_TRY(this->due(monitor, next_start_ms));
      if (!due) break;
      const Window window = TM_TRY(close(monitor, *due));
      const bool mine = TM_TRY(parts_.database.write([&](sql::Tx& tx) -> Result<bool> {
        if (!TM_TRY(move_next_start(tx, monitor.name, due->next_start_ms, window.end_ms))) return false;
        TM_CHECK(insert_window(tx, window));
        TM_CHECK(parts_.events.append(
            tx, {"monitors.window_closed", subject_of(monitor.name), "system", closed_payload(window)}));
        if (!window.alerts.empty()) {
          TM_CHECK(parts_.events.append(
              tx, {"monitors.alerted", subject_of(monitor.name), "system", alert_payload(window)}));
        }
        return true;
      }));
      if (!mine) break;  // another server was quicker
      next_start_ms = window.end_ms;
      ++closed;
    }
  }
  return closed;
}

// --- canaries ---

bool Monitors::can_be_judged(const deployments::Deployment& deployment) const {
  if (!deployment.candidate || deployment.state != deployments::State::serving) return false;
  for (const auto& count : parts_.predictions.stats(deployment.name).versions) {
    const bool candidate = count.version == deployment.candidate->version && count.role == deployments::Role::candidate;
    if (candidate && count.labelled >= deployment.candidate->rule.labels_min) return true;
  }
  return false;
}

Result<void> Monitors::judge_canary(const deployments::Deployment& deployment) {
  const auto& candidate = *deployment.candidate;
  const auto frame = TM_TRY(parts_.predictions.joined(
      deployment.name,
      {.logged_from_ms = candidate.started_ms, .version = candidate.version, .role = deployments::Role::candidate}));
  if (frame.rows == 0) return {};
  const Rows rows = TM_TRY(rows_of(frame));
  const auto champion_scorer = TM_TRY(parts_.models.scorer(deployment.model, deployment.champion));
  const auto champion_all = TM_TRY(champion_scorer->score(frame));
  std::vector<double> candidate_scores;
  std::vector<double> champion_scores;
  std::vector<std::uint8_t> labels;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows.label[i] == kUnlabelled) continue;
    candidate_scores.push_back(rows.score[i]);
    champion_scores.push_back(champion_all[i]);
    labels.push_back(static_cast<std::uint8_t>(rows.label[i]));
  }
  const Judgement judgement = TM_TRY(judge(candidate.rule, candidate_scores, champion_scores, labels));
  if (judgement.ruling == Ruling::wait) return {};
  auto& room = parts_.deployments;
  const auto actor = access::system_actor();
  auto changed = judgement.ruling == Ruling::promote
                     ? room.promote(actor, deployment.name, candidate.version, judgement.reason, judgement.evidence)
                     : room.roll_back(actor, deployment.name, candidate.version, judgement.reason, judgement.evidence);
  if (!changed && changed.error().code == Code::kConflict) return {};  // somebody decided meanwhile
  TM_CHECK(changed);
  return parts_.predictions.wait_loaded(deployment.name, changed->revision, 10'000);
}

Result<void> Monitors::judge_canaries() {
  const auto snapshot = parts_.deployments.snapshot();
  for (const auto& [name, deployment] : *snapshot) {
    if (can_be_judged(deployment)) TM_CHECK(judge_canary(deployment));
  }
  return {};
}

// --- the thread ---

Result<std::int64_t> Monitors::check() {
  const std::lock_guard lock(checking_);
  TM_CHECK(judge_canaries());
  return check_windows();
}

Result<bool> Monitors::pending() {
  const auto snapshot = parts_.deployments.snapshot();
  for (const auto& [name, deployment] : *snapshot) {
    if (can_be_judged(deployment)) return true;
  }
  for (const auto& stored : TM_TRY(parts_.database.read([](sql::Tx& tx) { return all_monitors(tx); }))) {
    if (TM_TRY(due(stored.monitor, stored.next_start_ms))) return true;
  }
  return false;
}

void Monitors::start() {
  thread_ = std::thread([this] { loop(); });
}

void Monitors::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Monitors::loop() {
  std::string last_fault;  // so that a lasting one is logged once, not five times a second
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const auto checked = check();
    const std::string fault = checked ? std::string() : checked.error().text();
    if (!fault.empty() && fault != last_fault)
      log::error("monitors", "a check failed; it is tried again", {{"cause", fault}});
    last_fault = fault;
    lock.lock();
    wake_.wait_for(lock, std::chrono::milliseconds(options_.check_every_ms), [&] { return stopping_; });
  }
}

}  // namespace tidemill::monitors
