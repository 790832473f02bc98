#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

std::vector<std::string> version_path(const Call& call, const std::string& verb = {}) {
  std::vector<std::string> path{"models", call.get("MODEL"), "versions", call.get("VERSION")};
  if (!verb.empty()) path.push_back(verb);
  return path;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"models"}))), "models",
             {{"NAME", "name"}, {"DESCRIPTION", "description"}});
  return kExitOk;
}

Result<int> versions(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"models", call.get("MODEL"), "versions"}))), "versions",
             {{"VERSION", "number"}, {"STATE", "state"}, {"MADE", "made_ms"}, {"BY", "made_by"}, {"RUN", "run_id"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  const bool one = call.has("VERSION");
  call.object(TM_TRY(
      call.client().get(api_path(one ? version_path(call) : std::vector<std::string>{"models", call.get("MODEL")}))));
  return kExitOk;
}

Result<int> ask(Call& call) {
  call.object(TM_TRY(call.client().post(api_path(version_path(call, "request-approval")), json::Object{})));
  return kExitOk;
}

Result<int> approve(Call& call) {
  const json::Object body{{"reason", call.get("--reason")}};
  const auto answer = TM_TRY(call.client().post(api_path(version_path(call, "approve")), body));
  call.say(fmt::format("Version {} of {} is approved.", call.get("VERSION"), call.get("MODEL")), answer);
  return kExitOk;
}

Result<int> reject(Call& call) {
  const json::Object body{{"reason", call.get("--reason")}};
  const auto answer = TM_TRY(call.client().post(api_path(version_path(call, "reject")), body));
  call.say(fmt::format("Version {} of {} is rejected.", call.get("VERSION"), call.get("MODEL")), answer);
  return kExitOk;
}

Result<int> lineage(Call& call) {
  call.object(TM_TRY(call.client().get(api_path(version_path(call, "lineage")))));
  return kExitOk;
}

Result<int> graph(Call& call) {
  call.table(TM_TRY(call.client().get(api_path(version_path(call, "graph")))), "edges",
             {{"FROM", "from"}, {"", "what"}, {"TO", "to"}});
  return kExitOk;
}

}  // namespace

std::vector<Verb> models_verbs() {
  const Parameter model{"MODEL", "The registered model", true};
  const Parameter version{"VERSION", "The version's number", true};
  const Parameter reason{"--reason", "Why; it is kept in the audit log", true};
  return {
      {"models", "list", "List all registered models", {"tidemill models list"}, {}, list},
      {"models",
       "versions",
       "List the versions of a model",
       {"tidemill models versions flight-delay"},
       {model},
       versions},
      {"models",
       "show",
       "Show a model, or a version with tests, parity and approvals",
       {"tidemill models show flight-delay 3 --json"},
       {model, {"VERSION", "The version's number"}},
       show},
      {"models",
       "request-approval",
       "Ask a second person to look",
       {"tidemill models request-approval flight-delay 1"},
       {model, version},
       ask},
      {"models",
       "approve",
       "Approve a version that somebody else made",
       {"tidemill models approve flight-delay 1 --reason \"gate passed, slices looked at\""},
       {model, version, reason},
       approve},
      {"models",
       "reject",
       "Reject a version",
       {"tidemill models reject flight-delay 2 --reason \"worse on JFK\""},
       {model, version, reason},
       reject},
      {"models",
       "lineage",
       "Show what a version was made from",
       {"tidemill models lineage flight-delay 1"},
       {model, version},
       lineage},
      {"models",
       "graph",
       "Show lineage up and down: data, features, run, version, deployments",
       {"tidemill models graph flight-delay 1", "tidemill models graph flight-delay 1 --json"},
       {model, version},
       graph},
  };
}

}  // namespace tidemill::cli
