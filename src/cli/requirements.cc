#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"requirements"}), TM_TRY(read_definition(call.get("FILE")))));
  call.say("The requirement is recorded.", answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"requirements"}))), "requirements",
             {{"NAME", "name"}, {"GOAL", "goal"}, {"OWNER", "owner"}, {"FALLBACK", "fallback"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"requirements", call.get("NAME")}))));
  return kExitOk;
}

}  // namespace

std::vector<Verb> requirements_verbs() {
  return {
      {"requirements",
       "add",
       "Record a requirement from a YAML or JSON file",
       {"tidemill requirements add late-flights.yaml"},
       {{"FILE", "The definition; - reads standard input", true}},
       add},
      {"requirements", "list", "List all requirements", {"tidemill requirements list"}, {}, list},
      {"requirements",
       "show",
       "Show one requirement with its rules",
       {"tidemill requirements show late-flights"},
       {{"NAME", "The requirement", true}},
       show},
  };
}

}  // namespace tidemill::cli
