#include "api/rest/deployments.h"

#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"

namespace tidemill::rest {
namespace {

using access::Right;
using deployments::Deployment;
using deployments::Deployments;
using deployments::HistoryEntry;
using deployments::Policy;
using predictions::Predictions;

constexpr std::int64_t kLoadWaitMs = 10'000;

// A deployment, and whether requests are answered by this very revision of it.
struct DeploymentView : Deployment {
  bool live = false;
  std::optional<std::string> problem;  // why it is not
};
BOOST_DESCRIBE_STRUCT(DeploymentView, (Deployment), (live, problem))

struct DeploymentList {
  std::vector<DeploymentView> deployments;
};
BOOST_DESCRIBE_STRUCT(DeploymentList, (), (deployments))

struct HistoryList {
  std::vector<HistoryEntry> history;
};
BOOST_DESCRIBE_STRUCT(HistoryList, (), (history))

struct PolicyList {
  std::vector<Policy> policies;
};
BOOST_DESCRIBE_STRUCT(PolicyList, (), (policies))

struct Promotion {
  using json_defaults = void;
  std::int64_t version = 0;  // the candidate that is meant; 0 = whichever there is
  std::string reason = "promoted by hand";
};
BOOST_DESCRIBE_STRUCT(Promotion, (), (version, reason))

struct Rollback {
  using json_defaults = void;
  std::int64_t version = 0;
  std::string reason;  // mandatory
};
BOOST_DESCRIBE_STRUCT(Rollback, (), (version, reason))

struct Shadows {
  std::vector<std::int64_t> versions;
};
BOOST_DESCRIBE_STRUCT(Shadows, (), (versions))

struct Reason {
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(Reason, (), (reason))

struct At {
  std::int64_t at_ms = 0;
};
BOOST_DESCRIBE_STRUCT(At, (), (at_ms))

struct Moment {
  using json_defaults = void;
  std::string at;                     // RFC 3339, such as 2026-03-31T23:59:59+08:00; "" = now
  std::optional<std::int64_t> at_ms;  // the same as a number
  std::string model;                  // "" = of every model
};
BOOST_DESCRIBE_STRUCT(Moment, (), (at, at_ms, model))

struct LiveAt {
  std::int64_t at_ms = 0;
  std::int64_t version = 0;  // 0 = nothing was live
};
BOOST_DESCRIBE_STRUCT(LiveAt, (), (at_ms, version))

// Waits up to `wait_ms` for the data plane. A change that cannot be loaded stands all the same: `problem` says so.
DeploymentView view_of(Predictions& predictions, Deployment deployment, std::int64_t wait_ms) {
  const auto loaded = predictions.wait_loaded(deployment.name, deployment.revision, wait_ms);
  DeploymentView view;
  static_cast<Deployment&>(view) = std::move(deployment);
  view.live = loaded.has_value() && view.state == deployments::State::serving;
  if (!loaded) view.problem = loaded.error().text();
  return view;
}

Result<DeploymentView> changed(Predictions& predictions, Result<Deployment> deployment) {
  if (!deployment) return std::unexpected(std::move(deployment).error());
  return view_of(predictions, *std::move(deployment), kLoadWaitMs);
}

void add_reads(std::vector<http::Route>& routes, Deployments& room, Predictions& predictions) {
  routes.push_back(http::get<DeploymentList>("/api/deployments", Right::read, "List deployments",
                                             [&room, &predictions](const http::Request&) -> Result<DeploymentList> {
                                               DeploymentList list;
                                               for (auto& deployment : TM_TRY(room.list())) {
                                                 list.deployments.push_back(
                                                     view_of(predictions, std::move(deployment), 0));
                                               }
                                               return list;
                                             }));
  routes.push_back(
      http::get<DeploymentView>("/api/deployments/{name}", Right::read, "Show a deployment",
                                [&room, &predictions](const http::Request& request) -> Result<DeploymentView> {
                                  return view_of(predictions, TM_TRY(room.get(request.param("name"))), 0);
                                }));
  routes.push_back(http::get<HistoryList>("/api/deployments/{name}/history", Right::read, "What was live when, and why",
                                          [&room](const http::Request& request) -> Result<HistoryList> {
                                            return HistoryList{TM_TRY(room.history(request.param("name")))};
                                          }));
  routes.push_back(http::get_query<Moment, deployments::Production>(
      "/api/live", Right::read, "What was in production at a moment, from the event log",
      [&room](const http::Request&, const Moment& moment) -> Result<deployments::Production> {
        if (moment.at.empty()) return room.production_at(moment.at_ms, moment.model);
        return room.production_at(TM_TRY(parse_utc(moment.at)), moment.model);
      }));
  routes.push_back(http::get_query<At, LiveAt>(
      "/api/deployments/{name}/live", Right::read, "Which version was the champion at a moment",
      [&room](const http::Request& request, const At& at) -> Result<LiveAt> {
        TM_CHECK(room.get(request.param("name")));
        return LiveAt{at.at_ms, TM_TRY(room.champion_at(request.param("name"), at.at_ms))};
      }));
}

void add_changes(std::vector<http::Route>& routes, Deployments& room, Predictions& predictions) {
  routes.push_back(http::post<deployments::NewDeployment, DeploymentView>(
      "/api/deployments", Right::write, "Put an approved version behind an endpoint",
      [&](const http::Request& request, const deployments::NewDeployment& wanted) {
        return changed(predictions, room.add(request.actor, wanted));
      },
      {.status = 201}));
  routes.push_back(http::post<deployments::NewCanary, DeploymentView>(
      "/api/deployments/{name}/canary", Right::write, "Send part of the predictions to another approved version",
      [&](const http::Request& request, const deployments::NewCanary& canary) {
        return changed(predictions, room.start_canary(request.actor, request.param("name"), canary));
      }));
  routes.push_back(http::post<Promotion, DeploymentView>(
      "/api/deployments/{name}/promote", Right::write, "Make the candidate the champion",
      [&](const http::Request& request, const Promotion& wanted) {
        return changed(predictions,
                       room.promote(request.actor, request.param("name"), wanted.version, wanted.reason, {}));
      }));
  routes.push_back(http::post<Rollback, DeploymentView>(
      "/api/deployments/{name}/rollback", Right::write, "Take the candidate out, or go back to the champion before",
      [&](const http::Request& request, const Rollback& wanted) {
        return changed(predictions,
                       room.roll_back(request.actor, request.param("name"), wanted.version, wanted.reason, {}));
      }));
  routes.push_back(http::post<Shadows, DeploymentView>(
      "/api/deployments/{name}/shadows", Right::write, "Set the versions that answer too, for comparison only",
      [&](const http::Request& request, const Shadows& wanted) {
        return changed(predictions, room.set_shadows(request.actor, request.param("name"), wanted.versions));
      }));
  routes.push_back(http::post<Reason, DeploymentView>(
      "/api/deployments/{name}/stop", Right::write, "Answer no more requests",
      [&](const http::Request& request, const Reason& wanted) {
        return changed(predictions, room.stop(request.actor, request.param("name"), wanted.reason));
      }));
}

void add_policies(std::vector<http::Route>& routes, Deployments& room) {
  routes.push_back(http::get<PolicyList>("/api/deployments/{name}/policies", Right::read,
                                         "List what may change a deployment without a hand on it",
                                         [&room](const http::Request& request) -> Result<PolicyList> {
                                           return PolicyList{TM_TRY(room.policies(request.param("name")))};
                                         }));
  routes.push_back(http::post<deployments::NewPolicy, Policy>(
      "/api/deployments/{name}/policies", Right::write, "Propose a policy; it counts once a second person approved it",
      [&room](const http::Request& request, const deployments::NewPolicy& policy) {
        return room.add_policy(request.actor, request.param("name"), policy);
      },
      {.status = 201}));
  for (const bool approve : {true, false}) {
    routes.push_back(http::post<Reason, Policy>(
        std::string("/api/deployments/{name}/policies/{policy}/") + (approve ? "approve" : "reject"), Right::approve,
        approve ? "Approve a policy of somebody else" : "Reject a policy of somebody else",
        [&room, approve](const http::Request& request, const Reason& wanted) {
          return room.decide_policy(request.actor, request.param("name"), request.param("policy"), approve,
                                    wanted.reason);
        }));
  }
}

}  // namespace

std::vector<http::Route> deployments_routes(Deployments& room, Predictions& predictions) {
  std::vector<http::Route> routes;
  add_reads(routes, room, predictions);
  add_changes(routes, room, predictions);
  add_policies(routes, room);
  return routes;
}

}  // namespace tidemill::rest
