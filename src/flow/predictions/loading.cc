// Predictions: what is loaded, and how it follows what is deployed.
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <span>
#include <utility>

#include "base/log.h"
#include "flow/predictions/predictions.h"

namespace tidemill::predictions {
namespace {

Error unknown_deployment(std::string_view name) {
  return {Code::kNotFound,
          "deployments.unknown",
          fmt::format("There is no deployment '{}'.", name.substr(0, 128)),
          "List them with 'tidemill deployments list'.",
          {{"deployment", std::string(name.substr(0, 128))}}};
}

metrics::Labels labels(const std::string& deployment, std::int64_t version) {
  return {{"deployment", deployment}, {"version", std::to_string(version)}};
}

}  // namespace

Result<std::shared_ptr<const Loaded>> Predictions::serving(std::string_view deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = loaded_.find(deployment);
  if (found != loaded_.end() && found->second->deployment.state == deployments::State::serving) return found->second;
  const auto error = load_errors_.find(std::string(deployment));
  if (error != load_errors_.end()) return std::unexpected(error->second);
  return std::unexpected(unknown_deployment(deployment));
}

std::shared_ptr<const Loaded> Predictions::loaded(std::string_view deployment) const {
  const std::lock_guard lock(mutex_);
  const auto found = loaded_.find(deployment);
  return found == loaded_.end() ? nullptr : found->second;
}

VersionMetrics::VersionMetrics(const std::string& deployment, std::int64_t version)
    : requests(
          metrics::counter("tidemill_predictions_requests_total", "Requests answered", labels(deployment, version))),
      rows(metrics::counter("tidemill_predictions_rows_total", "Rows answered", labels(deployment, version))),
      seconds(metrics::histogram("tidemill_predictions_request_seconds",
                                 "From a request's arrival in its lane to its answer", metrics::seconds_buckets(),
                                 labels(deployment, version))) {}

Loaded::Loaded(deployments::Deployment loaded)
    : deployment(std::move(loaded)),
      failures(metrics::counter("tidemill_predictions_failures_total", "Requests that could not be scored",
                                {{"deployment", deployment.name}})),
      log_drops(metrics::counter("tidemill_predictions_log_dropped_rows_total",
                                 "Rows that were answered but could not be logged",
                                 {{"deployment", deployment.name}})) {}

Result<std::shared_ptr<const Loaded>> Predictions::load(const deployments::Deployment& deployment) {
  auto next = std::make_shared<Loaded>(deployment);
  std::vector<std::int64_t> versions = deployment.shadows;
  versions.push_back(deployment.champion);
  if (deployment.candidate) versions.push_back(deployment.candidate->version);
  for (const std::int64_t version : versions) {
    if (next->scorers.contains(version)) continue;
    auto scorer = TM_TRY(parts_.models.scorer(deployment.model, version));
    // The first run allocates and is slow; nobody shall wait for it.
    std::vector<double> score(1);
    const std::vector<float> row(scorer->encoder.width());
    TM_CHECK(scorer->session->score(std::span<const float>(row), static_cast<std::int64_t>(row.size()), score));
    next->metrics.emplace(version, VersionMetrics(deployment.name, version));
    next->scorers.emplace(version, std::move(scorer));
  }
  return next;
}

void Predictions::load_loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closing_ || reload_; });
    if (closing_) return;
    lock.unlock();
    load_all();
    lock.lock();
  }
}

// Loads what the newest snapshot asks for. A deployment whose change cannot be loaded goes on as it was.
void Predictions::load_all() {
  {
    const std::lock_guard lock(mutex_);
    reload_ = false;
  }
  const auto snapshot = parts_.deployments.snapshot();
  for (const auto& [name, deployment] : *snapshot) {
    const auto before = loaded(name);
    if (before != nullptr && before->deployment.revision >= deployment.revision) continue;
    auto next = load(deployment);
    if (!next)
      log::error("predictions", "could not load a deployment", {{"deployment", name}, {"cause", next.error().text()}});
    const std::lock_guard lock(mutex_);
    if (next) {
      load_errors_.erase(name);
      loaded_[name] = *std::move(next);
    } else {
      load_errors_[name] = std::move(next).error();
    }
  }
  changed_.notify_all();
}

Result<void> Predictions::wait_loaded(const std::string& deployment, std::int64_t revision, std::int64_t wait_ms) {
  std::unique_lock lock(mutex_);
  const auto there = [&] {
    const auto found = loaded_.find(deployment);
    return found != loaded_.end() && found->second->deployment.revision >= revision;
  };
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                    [&] { return closing_ || there() || load_errors_.contains(deployment); });
  if (there()) return {};
  const auto error = load_errors_.find(deployment);
  if (error != load_errors_.end()) return std::unexpected(error->second);
  return fail(Code::kUnavailable, "predictions.still_loading", fmt::format("'{}' is still loading.", deployment),
              "Ask again in a second.");
}

}  // namespace tidemill::predictions
