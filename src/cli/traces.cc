#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> list(Call& call) {
  const Query query = call.query({"experiment", "filter", "limit"});
  call.table(TM_TRY(call.client().get(api_path({"traces"}), query)), "traces",
             {{"TRACE", "id"},
              {"NAME", "name"},
              {"STATE", "state"},
              {"STARTED", "start_ms"},
              {"MILLISECONDS", "duration_ms"},
              {"SPANS", "span_count"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"traces", call.get("TRACE")}))));
  return kExitOk;
}

}  // namespace

std::vector<Verb> traces_verbs() {
  return {
      {"traces",
       "list",
       "List traces, newest first",
       {"tidemill traces list --limit 20", "tidemill traces list --filter \"trace.status = 'ERROR'\""},
       {{"--experiment", "Only of this experiment"}, {"--filter", "In MLflow's grammar"}, {"--limit", "How many"}},
       list},
      {"traces",
       "show",
       "Show a trace with its spans and assessments",
       {"tidemill traces show TRACE"},
       {{"TRACE", "The trace's id", true}},
       show},
  };
}

}  // namespace tidemill::cli
