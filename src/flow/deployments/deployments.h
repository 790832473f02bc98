// The room of deployments: the control plane of serving. See README.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/access.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/deployments/types.h"
#include "flow/models/models.h"
#include "storage/sql/database.h"

namespace tidemill::deployments {

// Every deployment by name, as of one moment. Immutable: hold it as long as you like.
using Snapshot = std::map<std::string, Deployment, std::less<>>;

struct Parts {
  sql::Database& database;
  events::Events& events;
  access::Access& access;
  models::Models& models;
  const Clock& clock;
};

// What the release of a version under a policy came to.
struct Release {
  std::string deployment;
  std::string model;
  std::int64_t version = 0;
  std::string policy;
  std::string outcome;  // "canary_started", or "gate_not_passed" for a version that its gate has refused
};
BOOST_DESCRIBE_STRUCT(Release, (), (deployment, model, version, policy, outcome))

// All functions may be called from any thread.
class Deployments {
 public:
  // Makes or updates its tables and reads what is deployed.
  [[nodiscard]] static Result<std::unique_ptr<Deployments>> create(Parts parts);

  // Puts an approved version behind a new name and sets the model's alias champion. kFailedPrecondition for a version
  // that is not approved; shadows may be in any state but rejected. Event deployments.released.
  [[nodiscard]] Result<Deployment> add(const access::Actor& actor, const NewDeployment& deployment);
  [[nodiscard]] Result<Deployment> get(std::string_view name);
  [[nodiscard]] Result<std::vector<Deployment>> list();

  // Sends part of the traffic to another approved version. kFailedPrecondition while there is a candidate. Event
  // deployments.canary_started.
  [[nodiscard]] Result<Deployment> start_canary(const access::Actor& actor, std::string_view name,
                                                const NewCanary& canary);
  // Makes the candidate the champion and moves the alias, in one commit. `expected_version` 0 means whichever there is;
  // otherwise kConflict when the candidate is another by now. Event deployments.promoted with the evidence.
  [[nodiscard]] Result<Deployment> promote(const access::Actor& actor, std::string_view name,
                                           std::int64_t expected_version, std::string_view reason,
                                           json::Object evidence);
  // Takes the candidate out; where there is none, goes back to the champion before the last promotion.
  // `expected_version` as for promote. Event deployments.rolled_back.
  [[nodiscard]] Result<Deployment> roll_back(const access::Actor& actor, std::string_view name,
                                             std::int64_t expected_version, std::string_view reason,
                                             json::Object evidence);
  [[nodiscard]] Result<Deployment> set_shadows(const access::Actor& actor, std::string_view name,
                                               const std::vector<std::int64_t>& versions);
  // Answers no more requests; what it logged stays. Event deployments.stopped.
  [[nodiscard]] Result<Deployment> stop(const access::Actor& actor, std::string_view name, std::string_view reason);

  // Oldest first.
  [[nodiscard]] Result<std::vector<HistoryEntry>> history(std::string_view name);
  // Returns the version that was champion at the moment, 0 before the first release.
  [[nodiscard]] Result<std::int64_t> champion_at(std::string_view name, std::int64_t at_ms);

  // Returns what every deployment that served at the moment (none: now) answered with, or only those of one model when
  // `model` is not empty. Read from the event log: an event counts from its own time on.
  [[nodiscard]] Result<Production> production_at(std::optional<std::int64_t> at_ms, std::string_view model = {});

  // Keeps a policy and asks a second person. Event policies.added.
  [[nodiscard]] Result<Policy> add_policy(const access::Actor& actor, std::string_view deployment,
                                          const NewPolicy& policy);
  // Decides about it, as Access::decide.
  [[nodiscard]] Result<Policy> decide_policy(const access::Actor& actor, std::string_view deployment,
                                             std::string_view policy, bool approve, std::string_view reason);
  [[nodiscard]] Result<std::vector<Policy>> policies(std::string_view deployment);

  // What a pipeline does at its end: under an approved policy, a version that passed its gate is approved by the policy
  // and goes out as a canary; one that did not pass is left alone. The same `once_key` answers the first outcome again.
  // kFailedPrecondition when the policy is not approved or there is a candidate already.
  [[nodiscard]] Result<Release> release(const access::Actor& actor, std::string_view deployment,
                                        std::string_view policy, std::int64_t version, std::string_view cause,
                                        std::string_view once_key);

  // Returns the deployments as they are now; microseconds, no SQL.
  [[nodiscard]] std::shared_ptr<const Snapshot> snapshot() const;
  // Registers a callback for after each change, on the writer's thread: only wake something up. Before the server
  // starts.
  void on_change(std::function<void()> callback) { callbacks_.push_back(std::move(callback)); }

 private:
  explicit Deployments(Parts parts) : parts_(parts) {}

  [[nodiscard]] Result<void> check_servable(sql::Tx& tx, const Deployment& deployment, std::int64_t version);
  [[nodiscard]] Result<void> check_shadows(sql::Tx& tx, const Deployment& deployment);
  [[nodiscard]] Result<Deployment> begin_canary(sql::Tx& tx, const access::Actor& actor, Deployment deployment,
                                                const NewCanary& canary);
  [[nodiscard]] Result<Deployment> save(sql::Tx& tx, const access::Actor& actor, Deployment deployment,
                                        std::string kind, json::Object payload);
  void publish(const Deployment& deployment);

  const Parts parts_;
  std::vector<std::function<void()>> callbacks_;  // constant once the server runs

  mutable std::mutex mutex_;
  std::shared_ptr<const Snapshot> snapshot_ = std::make_shared<Snapshot>();  // guarded by mutex_
};

}  // namespace tidemill::deployments
