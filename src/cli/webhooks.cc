#include <fmt/format.h>

#include <cstdlib>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> add(Call& call) {
  json::Array events;
  for (const auto& event : call.all("--event")) events.emplace_back(event);
  json::Object body{{"name", call.get("NAME")}, {"url", call.get("URL")}, {"events", events}};
  if (call.has("--form")) body["form"] = call.get("--form");
  // Not an argument: those can be read by everybody on the machine.
  if (const char* secret = std::getenv("TIDEMILL_WEBHOOK_SECRET"); secret != nullptr) body["secret"] = secret;
  const auto answer = TM_TRY(call.client().post(api_path({"webhooks"}), body));
  call.say(fmt::format("{} is told from now on, as {}.", call.get("NAME"),
                       std::string(answer.as_object().at("id").as_string())),
           answer);
  return kExitOk;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"webhooks"}))), "webhooks",
             {{"ID", "id"}, {"NAME", "name"}, {"STATUS", "status"}, {"FORM", "form"}, {"URL", "url"}});
  return kExitOk;
}

Result<int> set_status(Call& call, const char* status) {
  const auto answer =
      TM_TRY(call.client().patch(api_path({"webhooks", call.get("ID")}), json::Object{{"status", status}}));
  call.say(fmt::format("It is {} now.", status), answer);
  return kExitOk;
}

Result<int> remove(Call& call) {
  const auto answer = TM_TRY(call.client().remove(api_path({"webhooks", call.get("ID")})));
  call.say("It is deleted.", answer);
  return kExitOk;
}

Result<int> test(Call& call) {
  const json::Object body{{"event", call.get("--event")}};
  const auto answer = TM_TRY(call.client().post(api_path({"webhooks", call.get("ID"), "test"}), body));
  call.object(answer);
  return answer.as_object().at("success").as_bool() ? kExitOk : kExitFailed;
}

Result<int> deliveries(Call& call) {
  Query query;
  if (call.has("--state")) query.emplace_back("state", call.get("--state"));
  call.table(TM_TRY(call.client().get(api_path({"webhooks", call.get("ID"), "deliveries"}), query)), "deliveries",
             {{"AT", "made_ms"},
              {"EVENT", "event"},
              {"STATE", "state"},
              {"ATTEMPTS", "attempts"},
              {"ANSWER", "status"},
              {"ERROR", "error"}});
  return kExitOk;
}

}  // namespace

std::vector<Verb> webhooks_verbs() {
  const Parameter id{"ID", "The webhook, as the list shows it", true};
  return {
      {"webhooks",
       "add",
       "Tell a URL of events; TIDEMILL_WEBHOOK_SECRET signs what is sent",
       {"tidemill webhooks add on-call https://chat.example/hook --event monitors.alerted --event deployments."},
       {{"NAME", "What to call it", true},
        {"URL", "Where to send", true},
        {"--event", "A kind of event, or all of a room: deployments. ; repeatable", true, true},
        {"--form", "tidemill (default) or mlflow"}},
       add},
      {"webhooks", "list", "List webhooks", {"tidemill webhooks list"}, {}, list},
      {"webhooks",
       "disable",
       "Stop telling; what happens meanwhile is not made up for",
       {"tidemill webhooks disable ID"},
       {id},
       [](Call& call) { return set_status(call, "disabled"); }},
      {"webhooks",
       "enable",
       "Tell again",
       {"tidemill webhooks enable ID"},
       {id},
       [](Call& call) { return set_status(call, "active"); }},
      {"webhooks", "delete", "Delete a webhook", {"tidemill webhooks delete ID"}, {id}, remove},
      {"webhooks",
       "test",
       "Send an example and show how it went",
       {"tidemill webhooks test ID"},
       {id, {"--event", "Which event"}},
       test},
      {"webhooks",
       "deliveries",
       "Show what was sent and what waits",
       {"tidemill webhooks deliveries ID --state failed"},
       {id, {"--state", "pending, delivered or failed"}},
       deliveries},
  };
}

}  // namespace tidemill::cli
