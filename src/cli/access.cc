#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  json::Array roles;
  for (const auto& role : call.all("--role")) roles.emplace_back(role);
  const json::Object body{{"name", call.get("NAME")}, {"roles", roles}};
  const auto answer = TM_TRY(call.client().post(api_path({"people"}), body));
  if (const auto* token = answer.as_object().if_contains("token"); token != nullptr && token->is_string()) {
    call.note(fmt::format("{} is the first account: from now on everybody needs a token. This one is not shown again.",
                          call.get("NAME")));
    call.say(fmt::format("export TIDEMILL_TOKEN={}", std::string(token->get_string())), answer);
    return kExitOk;
  }
  call.say(fmt::format("{} has an account. Make a token: tidemill people token {}", call.get("NAME"), call.get("NAME")),
           answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"people"}))), "people",
             {{"NAME", "name"}, {"ROLES", "roles"}, {"DISABLED", "disabled"}});
  return kExitOk;
}

Result<int> token(Call& call) {
  const json::Object body{{"label", call.get("--label", "command line")}};
  const auto answer = TM_TRY(call.client().post(api_path({"people", call.get("NAME"), "tokens"}), body));
  call.note("Keep it: it is not shown again. Use it as TIDEMILL_TOKEN.");
  call.say(std::string(answer.as_object().at("token").as_string()), answer);
  return kExitOk;
}

Result<int> disable(Call& call) {
  const auto answer = TM_TRY(call.client().post(api_path({"people", call.get("NAME"), "disable"}), json::Object{}));
  call.say(fmt::format("{} can no longer sign in.", call.get("NAME")), answer);
  return kExitOk;
}

Result<int> approvals(Call& call) {
  Query query;
  if (call.has("--state")) query.emplace_back("state", call.get("--state"));
  call.table(TM_TRY(call.client().get(api_path({"approvals"}), query)), "approvals",
             {{"ID", "id"},
              {"WHAT", "kind"},
              {"SUBJECT", "subject"},
              {"STATE", "state"},
              {"ASKED BY", "asked_by"},
              {"DECIDED BY", "decided_by"},
              {"REASON", "reason"}});
  return kExitOk;
}

}  // namespace

std::vector<Verb> access_verbs() {
  const Parameter name{"NAME", "The person or service", true};
  return {
      {"people",
       "add",
       "Make an account; the first one must be an admin",
       {"tidemill people add ann --role admin", "tidemill people add li --role approver"},
       {name, {"--role", "viewer, modeller, approver, admin or service; repeatable", true, true}},
       add},
      {"people", "list", "List all accounts", {"tidemill people list"}, {}, list},
      {"people",
       "token",
       "Make a token and print it",
       {"export TIDEMILL_TOKEN=$(tidemill people token ann)"},
       {name, {"--label", "What it is for"}},
       token},
      {"people", "disable", "Close an account and its tokens", {"tidemill people disable bob"}, {name}, disable},
      {"approvals",
       "list",
       "List what was asked and decided",
       {"tidemill approvals list --state pending"},
       {{"--state", "pending, approved, rejected or withdrawn"}},
       approvals},
  };
}

}  // namespace tidemill::cli
