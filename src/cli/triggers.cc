#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"triggers"}), TM_TRY(read_definition(call.get("FILE")))));
  call.say("The trigger is set.", answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"triggers"}))), "triggers",
             {{"NAME", "name"},
              {"ON", "on.kind"},
              {"EVERY", "every"},
              {"CRON", "cron"},
              {"PIPELINE", "start.pipeline"},
              {"ENABLED", "enabled"}});
  return kExitOk;
}

Result<int> fires(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"triggers", call.get("NAME"), "fires"}))), "fires",
             {{"AT", "at_ms"}, {"CAUSE", "cause"}, {"RUN", "pipeline_run"}});
  return kExitOk;
}

Result<int> fire(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"triggers", call.get("NAME"), "fire"}), json::Object{}));
  call.say("The trigger has fired.", answer);
  return kExitOk;
}

}  // namespace

std::vector<Verb> triggers_verbs() {
  const Parameter name{"NAME", "The trigger", true};
  return {
      {"triggers",
       "add",
       "Let an event or the clock start a pipeline, from a YAML or JSON file",
       {"tidemill triggers add retrain.yaml"},
       {{"FILE", "The definition; - reads standard input", true}},
       add},
      {"triggers", "list", "List all triggers", {"tidemill triggers list"}, {}, list},
      {"triggers",
       "fires",
       "Show when a trigger fired, why, and what it started",
       {"tidemill triggers fires retrain"},
       {name},
       fires},
      {"triggers", "fire", "Fire a trigger by hand", {"tidemill triggers fire retrain"}, {name}, fire},
  };
}

}  // namespace tidemill::cli
