// A requirement: what the business wants of a model, in a form that a machine can hold it to.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"

namespace tidemill::requirements {

enum class Task { binary };
BOOST_DESCRIBE_ENUM(Task, binary)

// On which rows a rule is judged: wherever labelled rows are at hand, only at the release gate, or only on live
// predictions.
enum class On { newest_window, gate, live };
BOOST_DESCRIBE_ENUM(On, newest_window, gate, live)

enum class State { active, superseded, retired };
BOOST_DESCRIBE_ENUM(State, active, superseded, retired)

// "auc >= 0.68": one of the metrics of metrics.h, one of ">=", ">", "<=", "<", and a limit in the metric's unit.
struct Rule {
  using json_defaults = void;
  std::string metric;
  std::string op = ">=";
  double value = 0;
  On on = On::newest_window;
};
BOOST_DESCRIBE_STRUCT(Rule, (), (metric, op, value, on))

struct NewRequirement {
  using json_defaults = void;
  std::string name;
  std::string goal;      // the business goal, in words
  std::string owner;     // who answers for it
  std::string fallback;  // what is done while no model meets it
  Task task = Task::binary;
  double threshold = 0.5;  // from which probability on a row is called positive, for precision, recall, f1 and accuracy
  std::vector<Rule> rules;
};
BOOST_DESCRIBE_STRUCT(NewRequirement, (), (name, goal, owner, fallback, task, threshold, rules))

struct Requirement {
  std::string name;
  std::int64_t revision = 0;  // 1, 2, 3 …; only the newest is active
  std::string goal;
  std::string owner;
  std::string fallback;
  Task task = Task::binary;
  double threshold = 0.5;
  std::vector<Rule> rules;
  State state = State::active;
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Requirement, (),
                      (name, revision, goal, owner, fallback, task, threshold, rules, state, made_by, made_ms))

// Measured values by metric name.
using Metrics = std::map<std::string, double>;

// What became of one rule. `value` is absent, and `met` false, when the metric was not measured or is NaN: what is not
// known is not met.
struct Verdict {
  Rule rule;
  std::optional<double> value;
  bool met = false;
};
BOOST_DESCRIBE_STRUCT(Verdict, (), (rule, value, met))

}  // namespace tidemill::requirements
