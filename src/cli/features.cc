#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"features"}), TM_TRY(read_definition(call.get("FILE")))));
  call.say("The feature view is defined.", answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"features"}))), "features",
             {{"NAME", "name"}, {"DESCRIPTION", "description"}, {"OWNER", "owner"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"features", call.get("VIEW")}))));
  return kExitOk;
}

Result<int> materialize(Call& call) {
  call.object(TM_TRY(call.client().post(api_path({"features", call.get("VIEW"), "materialize"}), json::Object{})));
  return kExitOk;
}

Result<int> online(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"features", call.get("VIEW"), "online"}),
                                                TM_TRY(read_definition(call.get("FILE")))));
  call.object(answer);
  return kExitOk;
}

}  // namespace

std::vector<Verb> features_verbs() {
  const Parameter view{"VIEW", "The feature view", true};
  return {
      {"features",
       "add",
       "Define a feature view from a YAML or JSON file",
       {"tidemill features add flight-delay.yaml"},
       {{"FILE", "The definition; - reads standard input", true}},
       add},
      {"features", "list", "List all feature views", {"tidemill features list"}, {}, list},
      {"features", "show", "Show the definition of a view", {"tidemill features show flight-delay"}, {view}, show},
      {"features",
       "materialize",
       "Load the newest dataset versions into the online store",
       {"tidemill features materialize flight-delay"},
       {view},
       materialize},
      {"features",
       "online",
       "Look up features as an endpoint would",
       {"echo '{\"rows\": [{\"carrier\": \"UA\", \"origin\": \"EWR\"}]}' | tidemill features online flight-delay -"},
       {view, {"FILE", "JSON with the rows asked for; - reads standard input", true}},
       online},
  };
}

}  // namespace tidemill::cli
