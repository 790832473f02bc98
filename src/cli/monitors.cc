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

Result<int> windows(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"monitors", call.get("NAME"), "windows"}))), "windows",
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
       "windows",
       "Show quality and drift, window by window",
       {"tidemill monitors windows flight-delay"},
       {{"NAME", "The monitor", true}},
       windows},
  };
}

}  // namespace tidemill::cli
