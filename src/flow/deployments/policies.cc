#include <fmt/format.h>

#include <utility>

#include "flow/deployments/deployments.h"
#include "flow/deployments/store.h"

namespace tidemill::deployments {
namespace {

constexpr std::string_view kApprovalKind = "policies.approve";

std::string subject_of(const Policy& policy) {
  return fmt::format("deployments/{}/policies/{}", policy.deployment, policy.name);
}

json::Object to_object(const Release& release) { return json::to_json(release).as_object(); }

}  // namespace

Result<Policy> Deployments::add_policy(const access::Actor& actor, std::string_view deployment,
                                       const NewPolicy& wanted) {
  TM_CHECK(check_name("policy", wanted.name));
  if (wanted.canary_percent < 1 || wanted.canary_percent > 99) {
    return fail(Code::kInvalidArgument, "deployments.bad_percent",
                fmt::format("{} % is no share of a canary.", wanted.canary_percent), "Give 1 to 99.");
  }
  return parts_.database.write([&](sql::Tx& tx) -> Result<Policy> {
    TM_CHECK(get_deployment(tx, deployment));
    Policy policy;
    policy.deployment = deployment;
    policy.name = wanted.name;
    policy.canary_percent = wanted.canary_percent;
    policy.rule = wanted.rule;
    policy.description = wanted.description;
    policy.made_by = actor.name;
    policy.made_ms = parts_.clock.now_ms();
    json::Object evidence{{"made_by", actor.name}, {"policy", json::to_json(policy)}};
    const auto approval = TM_TRY(parts_.access.ask(tx, actor, subject_of(policy), kApprovalKind, evidence));
    TM_CHECK(insert_policy(tx, {policy, approval.id}));
    TM_CHECK(parts_.events.append(
        tx, {"policies.added", subject_of(policy), actor.name, json::to_json(policy).as_object()}));
    return policy;
  });
}

Result<Policy> Deployments::decide_policy(const access::Actor& actor, std::string_view deployment,
                                          std::string_view name, bool approve, std::string_view reason) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<Policy> {
    auto stored = TM_TRY(get_policy(tx, deployment, name));
    TM_CHECK(parts_.access.decide(tx, actor, stored.approval, approve, reason));
    stored.policy.state = approve ? PolicyState::approved : PolicyState::rejected;
    stored.policy.decided_by = actor.name;
    stored.policy.reason = reason;
    TM_CHECK(update_policy(tx, stored.policy));
    return stored.policy;
  });
}

Result<std::vector<Policy>> Deployments::policies(std::string_view deployment) {
  return parts_.database.read([&](sql::Tx& tx) -> Result<std::vector<Policy>> {
    TM_CHECK(get_deployment(tx, deployment));
    return all_policies(tx, deployment);
  });
}

Result<Release> Deployments::release(const access::Actor& actor, std::string_view name, std::string_view policy_name,
                                     std::int64_t version, std::string_view cause, std::string_view once_key) {
  return parts_.database.write([&](sql::Tx& tx) -> Result<Release> {
    if (const auto done = TM_TRY(find_release(tx, once_key))) return json::from_json<Release>(*done);
    const Deployment deployment = TM_TRY(get_deployment(tx, name));
    const Policy policy = TM_TRY(get_policy(tx, name, policy_name)).policy;
    if (policy.state != PolicyState::approved) {
      return fail(
          Code::kFailedPrecondition, "policies.not_approved",
          fmt::format("The policy '{}' of '{}' is {}, not approved.", policy_name, name, enum_name(policy.state)),
          "A second person must approve it first.");
    }
    Release release{deployment.name, deployment.model, version, policy.name, "canary_started"};
    const auto found = TM_TRY(parts_.models.version(tx, deployment.model, version));
    if (found.state == models::State::candidate || found.state == models::State::rejected) {
      release.outcome = "gate_not_passed";
    } else {
      TM_CHECK(parts_.models.approve_by_policy(tx, policy.name, deployment.model, version, cause));
      TM_CHECK(begin_canary(tx, actor, deployment, {version, policy.canary_percent, policy.rule, std::string(cause)}));
    }
    TM_CHECK(insert_release(tx, once_key, to_object(release)));
    return release;
  });
}

}  // namespace tidemill::deployments
