#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> create(Call& call) {
  json::Value body = json::Object{};
  if (call.has("--file")) body = TM_TRY(read_definition(call.get("--file")));
  if (!body.is_object())
    return fail(Code::kInvalidArgument, "cli.bad_definition", "The file does not hold an object.", "Correct it.");
  json::Object& object = body.get_object();
  object["name"] = call.get("NAME");
  if (call.has("--model")) object["model"] = call.get("--model");
  if (call.has("--version")) object["version"] = TM_TRY(call.integer("--version", 0));
  if (call.has("--feature-view")) object["feature_view"] = call.get("--feature-view");
  const auto answer = TM_TRY(call.client().post(api_path({"deployments"}), body));
  call.say(fmt::format("{} serves at {}/v2/models/{}/infer", call.get("NAME"), call.client().url(),
                       percent_encoded(call.get("NAME"))),
           answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"deployments"}))), "deployments",
             {{"NAME", "name"},
              {"MODEL", "model"},
              {"CHAMPION", "champion"},
              {"CANDIDATE", "candidate.version"},
              {"PERCENT", "candidate.percent"},
              {"STATE", "state"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"deployments", call.get("NAME")}))));
  return kExitOk;
}

Result<int> canary(Call& call) {
  json::Object body{{"version", TM_TRY(call.integer("--version", 0))},
                    {"percent", TM_TRY(call.integer("--percent", 10))}};
  const auto answer = TM_TRY(call.client().post(api_path({"deployments", call.get("NAME"), "canary"}), body));
  call.say("The canary has begun.", answer);
  return kExitOk;
}

Result<int> promote(Call& call) {
  const auto answer =
      TM_TRY(call.client().post(api_path({"deployments", call.get("NAME"), "promote"}), json::Object{}));
  call.say("The candidate is the champion now.", answer);
  return kExitOk;
}

Result<int> rollback(Call& call) {
  const json::Object body{{"reason", call.get("--reason")}};
  const auto answer = TM_TRY(call.client().post(api_path({"deployments", call.get("NAME"), "rollback"}), body));
  call.say("Rolled back.", answer);
  return kExitOk;
}

Result<int> history(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"deployments", call.get("NAME"), "history"}))), "history",
             {{"AT", "at_ms"}, {"WHAT", "kind"}, {"VERSION", "version"}, {"BY", "actor"}, {"REASON", "reason"}});
  return kExitOk;
}

Result<int> live(Call& call) {
  Query query;
  if (call.has("--at")) query.emplace_back("at", call.get("--at"));
  if (call.has("--model")) query.emplace_back("model", call.get("--model"));
  call.table(TM_TRY(call.client().get(api_path({"live"}), query)), "live",
             {{"DEPLOYMENT", "deployment"},
              {"MODEL", "model"},
              {"VERSION", "champion"},
              {"CANARY", "candidate"},
              {"PERCENT", "candidate_percent"},
              {"SINCE", "since_ms"},
              {"EVENT", "seq"},
              {"BY", "actor"}});
  return kExitOk;
}

}  // namespace

std::vector<Verb> deployments_verbs() {
  const Parameter name{"NAME", "The deployment", true};
  return {
      {"deployments",
       "create",
       "Put an approved model version behind an endpoint",
       {"tidemill deployments create flight-delay --model flight-delay --version 1"},
       {name,
        {"--model", "The registered model"},
        {"--version", "Its version"},
        {"--feature-view", "View that fills in missing columns"},
        {"--file", "YAML or JSON with the rest"}},
       create},
      {"deployments", "list", "List all deployments", {"tidemill deployments list"}, {}, list},
      {"deployments", "show", "Show a deployment", {"tidemill deployments show flight-delay"}, {name}, show},
      {"deployments",
       "canary",
       "Send part of the traffic to another version",
       {"tidemill deployments canary flight-delay --version 2 --percent 20"},
       {name, {"--version", "The candidate", true}, {"--percent", "Of the traffic (10)"}},
       canary},
      {"deployments",
       "promote",
       "Make the candidate the champion",
       {"tidemill deployments promote flight-delay"},
       {name},
       promote},
      {"deployments",
       "rollback",
       "Take the candidate out, or go back to the champion before",
       {"tidemill deployments rollback flight-delay --reason \"wrong on holidays\""},
       {name, {"--reason", "Why; it is kept", true}},
       rollback},
      {"deployments",
       "history",
       "Show what was live when",
       {"tidemill deployments history flight-delay"},
       {name},
       history},
      {"deployments",
       "live",
       "Show what was in production at a moment",
       {"tidemill deployments live --at 2026-03-31T23:59:59+08:00 --model flight-delay"},
       {{"--at", "RFC 3339 time (now)"}, {"--model", "Only deployments of this model"}},
       live},
  };
}

}  // namespace tidemill::cli
