#include "flow/deployments/steps.h"

#include <fmt/format.h>

#include <string>

namespace tidemill::deployments {
namespace {

struct With {
  using json_defaults = void;
  std::string deployment;
  std::string policy;
  std::string model;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(With, (), (deployment, policy, model, version))

}  // namespace

Result<json::Object> release_step(Deployments& deployments, const pipelines::BuiltinCall& call) {
  const With with = TM_TRY(json::from_json<With>(call.with, "with"));
  if (with.deployment.empty() || with.policy.empty() || with.version < 1) {
    return fail(Code::kInvalidArgument, "deployments.incomplete_step",
                "A release needs its deployment, policy and version.",
                "Write all three under 'with'; the version usually comes from the step that registered it.");
  }
  if (!with.model.empty()) {
    const std::string model = TM_TRY(deployments.get(with.deployment)).model;
    if (model != with.model) {
      return fail(Code::kInvalidArgument, "deployments.other_model",
                  fmt::format("'{}' serves the model '{}', not '{}'.", with.deployment, model, with.model),
                  "Name the right deployment.");
    }
  }
  const std::string once_key = fmt::format("{}/{}", call.run.str(), call.step);
  const std::string cause =
      call.cause.empty() ? fmt::format("pipelines/{}/runs/{}", call.pipeline, call.run.str()) : call.cause;
  const Release release =
      TM_TRY(deployments.release(call.actor, with.deployment, with.policy, with.version, cause, once_key));
  return json::to_json(release).as_object();
}

}  // namespace tidemill::deployments
