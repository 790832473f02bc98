#include <fmt/format.h>

#include "cli/command.h"

namespace tidemill::cli {
namespace {

Result<int> send(Call& call) {
  const auto answer = TM_TRY(call.client().post("/v2/models/" + percent_encoded(call.get("DEPLOYMENT")) + "/infer",
                                                TM_TRY(read_definition(call.get("FILE")))));
  call.object(answer);
  return kExitOk;
}

Result<int> stats(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"predictions", call.get("DEPLOYMENT"), "stats"}))));
  return kExitOk;
}

Result<int> show(Call& call) {
  call.object(TM_TRY(call.client().get(api_path({"predictions", call.get("DEPLOYMENT"), call.get("ID")}))));
  return kExitOk;
}

Result<int> label(Call& call) {
  json::Value body = TM_TRY(read_definition(call.get("FILE")));
  if (body.is_array()) body = json::Object{{"labels", std::move(body)}};
  const auto answer = TM_TRY(call.client().post(api_path({"predictions", call.get("DEPLOYMENT"), "labels"}), body));
  call.say("The labels are kept.", answer);
  return kExitOk;
}

}  // namespace

std::vector<Verb> predictions_verbs() {
  const Parameter deployment{"DEPLOYMENT", "The deployment", true};
  return {
      {"predictions",
       "send",
       "Ask an endpoint, with an Open Inference Protocol request from a file",
       {"tidemill predictions send flight-delay request.json"},
       {deployment, {"FILE", "The request; - reads standard input", true}},
       send},
      {"predictions",
       "stats",
       "Count predictions and labels",
       {"tidemill predictions stats flight-delay"},
       {deployment},
       stats},
      {"predictions",
       "show",
       "Show one prediction: features, version, answer, label",
       {"tidemill predictions show flight-delay ID"},
       {deployment, {"ID", "The prediction's id", true}},
       show},
      {"predictions",
       "label",
       "Send labels that have become known",
       {"tidemill predictions label flight-delay labels.json"},
       {deployment, {"FILE", "[{\"id\": …, \"label\": 0 or 1}]; - reads standard input", true}},
       label},
  };
}

}  // namespace tidemill::cli
