#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> list(Call& call) {
  const Query query = call.query({"experiment", "filter", "limit"});
  call.table(TM_TRY(call.client().get(api_path({"runs"}), query)), "runs",
             {{"RUN", "id"},
              {"NAME", "name"},
              {"EXPERIMENT", "experiment_id"},
              {"STATUS", "status"},
              {"STARTED", "start_ms"}});
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"runs", call.get("RUN")}))));
  return kExitOk;
}

}  // namespace

std::vector<Verb> runs_verbs() {
  return {
      {"runs",
       "list",
       "List runs, newest first",
       {"tidemill runs list --limit 20", "tidemill runs list --filter \"metrics.auc > 0.7\""},
       {{"--experiment", "Only of this experiment"}, {"--filter", "In MLflow's grammar"}, {"--limit", "How many"}},
       list},
      {"runs",
       "show",
       "Show a run with parameters and metrics",
       {"tidemill runs show RUN"},
       {{"RUN", "The run's id", true}},
       show},
  };
}

}  // namespace tidemill::cli
