#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

const std::vector<Column> kColumns{
    {"SEQ", "seq"}, {"AT", "at_ms"}, {"KIND", "kind"}, {"SUBJECT", "subject"}, {"BY", "actor"}};

Result<Query> query_of(const Call& call) {
  Query query{{"limit", call.get("--limit", "50")}};
  if (call.has("--kind")) query.emplace_back("kind_prefix", call.get("--kind"));
  if (call.has("--subject")) query.emplace_back("subject_prefix", call.get("--subject"));
  if (call.has("--after")) query.emplace_back("after_seq", std::to_string(TM_TRY(call.integer("--after", 0))));
  if (!call.has("--after")) query.emplace_back("newest_first", "true");
  return query;
}

Result<int> list(Call& call) {
  call.table(TM_TRY(call.client().get(api_path({"events"}), TM_TRY(query_of(call)))), "events", kColumns);
  return kExitOk;
}

Result<int> verify(Call& call) {
  const auto answer = TM_TRY(call.client().get(api_path({"events", "verify"})));
  const json::Object& verdict = answer.as_object();
  const bool ok = verdict.at("ok").as_bool();
  call.say(fmt::format("{} {} Head: {}",
                       ok ? "The chain holds:" : "THE CHAIN IS BROKEN:", std::string(verdict.at("message").as_string()),
                       std::string(verdict.at("head_hash").as_string())),
           answer);
  return ok ? kExitOk : kExitFailed;
}

}  // namespace

std::vector<Verb> events_verbs() {
  return {
      {"events",
       "list",
       "List events, newest first, or all after a number",
       {"tidemill events list --kind models.", "tidemill events list --after 120 --limit 1000"},
       {{"--kind", "Only kinds that start so"},
        {"--subject", "Only subjects that start so"},
        {"--after", "Only events after this number, oldest first"},
        {"--limit", "How many (50)"}},
       list},
      {"events",
       "verify",
       "Recompute the hash chain of the audit log; exit code 1 when it is broken",
       {"tidemill events verify"},
       {},
       verify},
  };
}

}  // namespace tidemill::cli
