#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"monitors"}), TM_TRY(read_definition(call.get("FILE")))));
  call.say("The monitor watches.", answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"monitors"}))), "monitors",
             {{"NAME", "name"}, {"DEPLOYMENT", "deployment"}, {"REQUIREMENT", "requirement"}, {"WINDOW", "window"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"monitors", call.get("NAME")}))));
  return kExitOk;
}

// When the first window closes, from the answer's `next`.
std::string first_window(const std::string& monitor, const json::Value& answer) {
  const auto text = [&](std::string_view path) {
    return value_text(at_path(answer, path), path.substr(path.rfind('.') + 1));
  };
  if (at_path(answer, "next") == nullptr) {
    return fmt::format(
        "No window has closed yet: the deployment of '{}' has made no predictions. Its first window is "
        "the one of the first prediction.",
        monitor);
  }
  if (text("next.time") == "wall") {
    return fmt::format("No window has closed yet. The first, {}, closes at {}.", text("next.label"),
                       text("next.closes_ms"));
  }
  return fmt::format(
      "No window has closed yet. The first, {}, closes once there is a prediction of {} or later, or "
      "labels with until_ms as late; the newest is of {}.",
      text("next.label"), text("next.closes_ms"), text("next.now_ms"));
}

Result<int> windows(Call& call) {
  const auto answer = TM_TRY(call.client().get(api_path({"monitors", call.get("NAME"), "windows"})));
  const auto* closed = at_path(answer, "windows");
  if (!call.as_json() && closed != nullptr && closed->is_array() && closed->get_array().empty()) {
    call.note(first_window(call.get("NAME"), answer));
    return kExitOk;
  }
  call.table(answer, "windows",
             {{"WINDOW", "label"},
              {"ROWS", "served.rows"},
              {"LABELLED", "served.labelled"},
              {"AUC", "served.auc"},
              {"BRIER", "served.brier"},
              {"ALERTS", "alert_count"}});
  return kExitOk;
}

}  // namespace

std::vector<Verb> monitors_verbs() {
  return {
      {"monitors",
       "add",
       "Watch a deployment, from a YAML or JSON file",
       {"tidemill monitors add flight-delay.yaml"},
       {{"FILE", "The definition; - reads standard input", true}},
       add},
      {"monitors", "list", "List all monitors", {"tidemill monitors list"}, {}, list},
      {"monitors",
       "show",
       "Show what a monitor watches",
       {"tidemill monitors show flight-delay"},
       {{"NAME", "The monitor", true}},
       show},
      {"monitors",
       "windows",
       "Show quality and drift, window by window",
       {"tidemill monitors windows flight-delay"},
       {{"NAME", "The monitor", true}},
       windows},
  };
}

}  // namespace tidemill::cli
