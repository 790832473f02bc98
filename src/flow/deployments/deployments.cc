#include "flow/deployments/deployments.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "flow/deployments/schema.sql.h"
#include "flow/deployments/store.h"

namespace tidemill::deployments {
namespace {

constexpr std::size_t kShadowsMax = 8;
constexpr std::size_t kReasonBytesMax = 4096;

std::string subject_of(const Deployment& deployment) { return "deployments/" + deployment.name; }

Result<void> check_reason(std::string_view reason) {
  if (!reason.empty() && reason.size() <= kReasonBytesMax) return {};
  return fail(Code::kInvalidArgument, "deployments.no_reason",
              fmt::format("This needs a reason of 1 to {} bytes.", kReasonBytesMax), "Say why; it is kept.");
}

Result<void> check_serving(const Deployment& deployment) {
  if (deployment.state == State::serving) return {};
  return fail(Code::kFailedPrecondition, "deployments.stopped", fmt::format("'{}' was stopped.", deployment.name),
              "Make another deployment.");
}

Result<void> check_canary(const NewCanary& canary) {
  const auto& rule = canary.rule;
  if (canary.percent < 1 || canary.percent > 99) {
    return fail(Code::kInvalidArgument, "deployments.bad_percent",
                fmt::format("{} % is no share of a canary.", canary.percent), "Give 1 to 99.");
  }
  if (rule.labels_min < 20 || rule.margin < 0 || rule.margin >= 1) {
    return fail(Code::kInvalidArgument, "deployments.bad_rule",
                fmt::format("labels_min {} or margin {} is out of range.", rule.labels_min, rule.margin),
                "Give labels_min from 20 and margin from 0 up to, but not including, 1.");
  }
  return {};
}

HistoryEntry entry_of(const events::Event& event) {
  const auto number = [&](const char* key) {
    const auto* value = event.payload.if_contains(key);
    return value != nullptr && value->is_int64() ? value->get_int64() : 0;
  };
  const auto* reason = event.payload.if_contains("reason");
  return {event.seq,
          event.at_ms,
          event.kind.substr(event.kind.find('.') + 1),
          number("version"),
          number("champion"),
          event.actor,
          reason != nullptr && reason->is_string() ? std::string(reason->get_string()) : std::string()};
}

}  // namespace

Result<std::unique_ptr<Deployments>> Deployments::create(Parts parts) {
  TM_CHECK(parts.database.migrate("deployments", kSchemaSql));
  std::unique_ptr<Deployments> deployments(new Deployments(parts));
  for (const auto& deployment : TM_TRY(deployments->list())) deployments->publish(deployment);
  return deployments;
}

Result<void> Deployments::check_servable(sql::Tx& tx, const Deployment& deployment, std::int64_t version) {
  const auto found = TM_TRY(parts_.models.version(tx, deployment.model, version));
  if (found.state != models::State::approved) {
    return fail(
        Code::kFailedPrecondition, "deployments.not_approved",
        fmt::format("Version {} of '{}' is {}, not approved.", version, deployment.model, enum_name(found.state)),
        "A second person must approve it first.", {{"model", deployment.model}, {"version", std::to_string(version)}});
  }
  if (!found.onnx.empty()) return {};
  return fail(Code::kFailedPrecondition, "deployments.no_onnx",
              fmt::format("Version {} of '{}' has no ONNX file.", version, deployment.model),
              "Convert it in its pipeline.");
}

Result<void> Deployments::check_shadows(sql::Tx& tx, const Deployment& deployment) {
  if (deployment.shadows.size() > kShadowsMax) {
    return fail(Code::kInvalidArgument, "deployments.many_shadows",
                fmt::format("{} shadows are too many.", deployment.shadows.size()),
                fmt::format("Give up to {}.", kShadowsMax));
  }
  for (const std::int64_t number : deployment.shadows) {
    const auto version = TM_TRY(parts_.models.version(tx, deployment.model, number));
    if (version.state == models::State::rejected || version.onnx.empty()) {
      return fail(Code::kFailedPrecondition, "deployments.bad_shadow",
                  fmt::format("Version {} of '{}' cannot be a shadow.", number, deployment.model),
                  "Take one that was not rejected and has an ONNX file.");
    }
  }
  return {};
}

Result<Deployment> Deployments::save(sql::Tx& tx, const access::Actor& actor, Deployment deployment, std::string kind,
                                     json::Object payload) {
  deployment.revision += 1;
  deployment.changed_ms = parts_.clock.now_ms();
  TM_CHECK(deployment.revision == 1 ? insert_deployment(tx, deployment) : update_deployment(tx, deployment));
  payload["champion"] = deployment.champion;
  payload["model"] = deployment.model;
  payload["revision"] = deployment.revision;
  TM_CHECK(parts_.events.append(tx, {"deployments." + kind, subject_of(deployment), actor.name, std::move(payload)}));
  tx.after_commit([this, deployment] { publish(deployment); });
  return deployment;
}

void Deployments::publish(const Deployment& deployment) {
  {
    const std::lock_guard lock(mutex_);
    auto next = std::make_shared<Snapshot>(*snapshot_);
    (*next)[deployment.name] = deployment;
    snapshot_ = std::move(next);
  }
  for (const auto& callback : callbacks_) callback();
}

std::shared_ptr<const Snapshot> Deployments::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

Result<Deployment> Deployments::add(const access::Actor& actor, const NewDeployment& wanted) {
  TM_CHECK(check_name("deployment", wanted.name));
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    Deployment deployment;
    deployment.name = wanted.name;
    deployment.model = wanted.model;
    deployment.champion = wanted.version;
    deployment.shadows = wanted.shadows;
    deployment.feature_view = wanted.feature_view;
    deployment.log = wanted.log;
    deployment.made_by = actor.name;
    deployment.made_ms = parts_.clock.now_ms();
    TM_CHECK(check_servable(tx, deployment, wanted.version));
    TM_CHECK(check_shadows(tx, deployment));
    TM_CHECK(parts_.models.set_alias(tx, actor, deployment.model, models::kChampion, deployment.champion));
    return save(tx, actor, deployment, "released",
                json::Object{{"version", wanted.version}, {"shadows", json::to_json(wanted.shadows)}});
  });
}

Result<Deployment> Deployments::get(std::string_view name) {
  return parts_.database.read([&](sql::Tx& tx) { return get_deployment(tx, name); });
}

Result<std::vector<Deployment>> Deployments::list() {
  return parts_.database.read([](sql::Tx& tx) { return all_deployments(tx); });
}

Result<Deployment> Deployments::begin_canary(sql::Tx& tx, const access::Actor& actor, Deployment deployment,
                                             const NewCanary& canary) {
  TM_CHECK(check_canary(canary));
  TM_CHECK(check_serving(deployment));
  if (deployment.candidate) {
    return fail(
        Code::kFailedPrecondition, "deployments.canary_runs",
        fmt::format("'{}' has version {} as candidate already.", deployment.name, deployment.candidate->version),
        "Promote it or roll it back first.", {{"version", std::to_string(deployment.candidate->version)}});
  }
  if (canary.version == deployment.champion) {
    return fail(Code::kInvalidArgument, "deployments.same_version",
                fmt::format("Version {} is the champion already.", canary.version), "Give another version.");
  }
  TM_CHECK(check_servable(tx, deployment, canary.version));
  deployment.candidate = Candidate{canary.version, canary.percent, canary.rule, parts_.clock.now_ms(), canary.cause};
  return save(tx, actor, std::move(deployment), "canary_started",
              json::Object{{"version", canary.version},
                           {"percent", canary.percent},
                           {"rule", json::to_json(canary.rule)},
                           {"reason", canary.cause}});
}

Result<Deployment> Deployments::start_canary(const access::Actor& actor, std::string_view name,
                                             const NewCanary& canary) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    return begin_canary(tx, actor, TM_TRY(get_deployment(tx, name)), canary);
  });
}

Result<Deployment> Deployments::promote(const access::Actor& actor, std::string_view name,
                                        std::int64_t expected_version, std::string_view reason, json::Object evidence) {
  TM_CHECK(check_reason(reason));
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    Deployment deployment = TM_TRY(get_deployment(tx, name));
    TM_CHECK(check_serving(deployment));
    if (!deployment.candidate) {
      return fail(Code::kFailedPrecondition, "deployments.no_candidate", fmt::format("'{}' has no candidate.", name),
                  "Start a canary first.");
    }
    const std::int64_t version = deployment.candidate->version;
    if (expected_version != 0 && expected_version != version) {
      return fail(Code::kConflict, "deployments.other_candidate",
                  fmt::format("The candidate of '{}' is {} by now.", name, version), "Look again.");
    }
    const std::int64_t before = std::exchange(deployment.champion, version);
    deployment.candidate.reset();
    TM_CHECK(parts_.models.set_alias(tx, actor, deployment.model, models::kChampion, version));
    return save(tx, actor, std::move(deployment), "promoted",
                json::Object{
                    {"version", version}, {"before", before}, {"reason", std::string(reason)}, {"evidence", evidence}});
  });
}

Result<Deployment> Deployments::roll_back(const access::Actor& actor, std::string_view name,
                                          std::int64_t expected_version, std::string_view reason,
                                          json::Object evidence) {
  TM_CHECK(check_reason(reason));
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    Deployment deployment = TM_TRY(get_deployment(tx, name));
    TM_CHECK(check_serving(deployment));
    std::int64_t version = 0;
    if (deployment.candidate) {
      version = deployment.candidate->version;
      deployment.candidate.reset();
    } else {
      events::Filter filter{.subject_prefix = subject_of(deployment), .limit = events::kReadMax, .newest_first = true};
      filter.kind_prefix = "deployments.promoted";
      for (const auto& event : TM_TRY(parts_.events.read(tx, filter))) {
        if (event.subject != subject_of(deployment) || event.payload.at("version") != deployment.champion) continue;
        version = std::exchange(deployment.champion, event.payload.at("before").to_number<std::int64_t>());
        break;
      }
      if (version == 0) {
        return fail(Code::kFailedPrecondition, "deployments.nothing_before",
                    fmt::format("'{}' never had another champion.", name),
                    "Start a canary of another version instead.");
      }
      TM_CHECK(parts_.models.set_alias(tx, actor, deployment.model, models::kChampion, deployment.champion));
    }
    if (expected_version != 0 && expected_version != version) {
      return fail(Code::kConflict, "deployments.other_candidate",
                  fmt::format("Version {} of '{}' is no longer what runs.", expected_version, name), "Look again.");
    }
    return save(tx, actor, std::move(deployment), "rolled_back",
                json::Object{{"version", version}, {"reason", std::string(reason)}, {"evidence", evidence}});
  });
}

Result<Deployment> Deployments::set_shadows(const access::Actor& actor, std::string_view name,
                                            const std::vector<std::int64_t>& versions) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    Deployment deployment = TM_TRY(get_deployment(tx, name));
    TM_CHECK(check_serving(deployment));
    deployment.shadows = versions;
    TM_CHECK(check_shadows(tx, deployment));
    return save(tx, actor, std::move(deployment), "shadows_set", json::Object{{"shadows", json::to_json(versions)}});
  });
}

Result<Deployment> Deployments::stop(const access::Actor& actor, std::string_view name, std::string_view reason) {
  TM_CHECK(check_reason(reason));
  return parts_.database.write([&](sql::Tx& tx) -> Result<Deployment> {
    Deployment deployment = TM_TRY(get_deployment(tx, name));
    TM_CHECK(check_serving(deployment));
    deployment.state = State::stopped;
    deployment.candidate.reset();
    return save(tx, actor, std::move(deployment), "stopped", json::Object{{"reason", std::string(reason)}});
  });
}

Result<std::vector<HistoryEntry>> Deployments::history(std::string_view name) {
  const Deployment deployment = TM_TRY(get(name));
  std::vector<HistoryEntry> entries;
  events::Filter filter{
      .kind_prefix = "deployments.", .subject_prefix = subject_of(deployment), .limit = events::kReadMax};
  while (true) {
    const auto page = TM_TRY(parts_.events.read(filter));
    for (const auto& event : page) {
      if (event.subject == subject_of(deployment)) entries.push_back(entry_of(event));
    }
    if (page.size() < static_cast<std::size_t>(filter.limit)) return entries;
    filter.after_seq = page.back().seq;
  }
}

Result<std::int64_t> Deployments::champion_at(std::string_view name, std::int64_t at_ms) {
  std::int64_t champion = 0;
  for (const auto& entry : TM_TRY(history(name))) {
    if (entry.at_ms > at_ms) break;
    champion = entry.kind == "stopped" ? 0 : entry.champion;
  }
  return champion;
}

}  // namespace tidemill::deployments
