// Endpoints: which versions of a model answer under a name, and how a change of version goes.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"

namespace tidemill::deployments {

enum class State { serving, stopped };
BOOST_DESCRIBE_ENUM(State, serving, stopped)

// Where an answer came from: the champion, the candidate of a canary, or a shadow whose answer nobody got.
enum class Role { champion, candidate, shadow };
BOOST_DESCRIBE_ENUM(Role, champion, candidate, shadow)

// When a canary ends. It is judged once `labels_min` of the candidate's own predictions have labels: both versions
// score those very rows, and the candidate is promoted when its AUC is no more than `margin` below the champion's, else
// rolled back.
struct CanaryRule {
  using json_defaults = void;
  std::int64_t labels_min = 1000;
  double margin = 0.01;
};
BOOST_DESCRIBE_STRUCT(CanaryRule, (), (labels_min, margin))

struct Candidate {
  std::int64_t version = 0;
  std::int64_t percent = 0;  // of the predictions, 1 to 99
  CanaryRule rule;
  std::int64_t started_ms = 0;
  std::string cause;  // why there is a candidate, such as "pipelines/<run>: drift of temp"
};
BOOST_DESCRIBE_STRUCT(Candidate, (), (version, percent, rule, started_ms, cause))

struct LogOptions {
  using json_defaults = void;
  bool durable = true;  // an answer leaves only after its record is on disk; false: records may be lost by a crash
};
BOOST_DESCRIBE_STRUCT(LogOptions, (), (durable))

struct NewDeployment {
  using json_defaults = void;
  std::string name;
  std::string model;
  std::int64_t version = 0;
  std::string feature_view;           // looks up the columns that a request leaves out; "" = none
  std::vector<std::int64_t> shadows;  // versions that answer too, for comparison only
  LogOptions log;
};
BOOST_DESCRIBE_STRUCT(NewDeployment, (), (name, model, version, feature_view, shadows, log))

struct Deployment {
  std::string name;
  std::string model;
  std::int64_t champion = 0;
  std::optional<Candidate> candidate;
  std::vector<std::int64_t> shadows;
  std::string feature_view;
  LogOptions log;
  State state = State::serving;
  std::int64_t revision = 0;  // grows by one with every change
  std::string made_by;
  std::int64_t made_ms = 0;
  std::int64_t changed_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Deployment, (),
                      (name, model, champion, candidate, shadows, feature_view, log, state, revision, made_by, made_ms,
                       changed_ms))

struct NewCanary {
  using json_defaults = void;
  std::int64_t version = 0;
  std::int64_t percent = 10;
  CanaryRule rule;
  std::string cause;
};
BOOST_DESCRIBE_STRUCT(NewCanary, (), (version, percent, rule, cause))

enum class PolicyState { pending, approved, rejected };
BOOST_DESCRIBE_ENUM(PolicyState, pending, approved, rejected)

// What may happen to a deployment without a hand on it. It counts only once a second person has approved it.
struct NewPolicy {
  using json_defaults = void;
  std::string name;
  std::int64_t canary_percent = 10;
  CanaryRule rule;
  std::string description;
};
BOOST_DESCRIBE_STRUCT(NewPolicy, (), (name, canary_percent, rule, description))

struct Policy {
  std::string deployment;
  std::string name;
  std::int64_t canary_percent = 10;
  CanaryRule rule;
  std::string description;
  PolicyState state = PolicyState::pending;
  std::string made_by;
  std::int64_t made_ms = 0;
  std::string decided_by;
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(Policy, (),
                      (deployment, name, canary_percent, rule, description, state, made_by, made_ms, decided_by,
                       reason))

// One step in the life of a deployment, read from the event log.
struct HistoryEntry {
  std::int64_t seq = 0;
  std::int64_t at_ms = 0;
  std::string kind;           // released, canary_started, promoted, rolled_back, shadows_set, stopped
  std::int64_t version = 0;   // that it is about
  std::int64_t champion = 0;  // after it
  std::string actor;
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(HistoryEntry, (), (seq, at_ms, kind, version, champion, actor, reason))

// What one deployment answered with at a moment.
struct Live {
  std::string deployment;
  std::string model;
  std::int64_t champion = 0;
  std::optional<std::int64_t> candidate;          // of a canary that was running
  std::optional<std::int64_t> candidate_percent;  // its share of the predictions
  std::vector<std::int64_t> shadows;
  std::int64_t since_ms = 0;  // of the event that made it so
  std::int64_t seq = 0;       // of that event, for proof
  std::string actor;
  std::string reason;
};
BOOST_DESCRIBE_STRUCT(Live, (),
                      (deployment, model, champion, candidate, candidate_percent, shadows, since_ms, seq, actor,
                       reason))

struct Production {
  std::int64_t at_ms = 0;
  std::vector<Live> live;  // by name of the deployment
};
BOOST_DESCRIBE_STRUCT(Production, (), (at_ms, live))

}  // namespace tidemill::deployments
