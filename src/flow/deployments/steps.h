// What this room lends to pipelines as a step.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "flow/deployments/deployments.h"
#include "flow/pipelines/types.h"

namespace tidemill::deployments {

// deployments.release. with: deployment, policy, version; optionally model, which must then be the deployment's. Under
// an approved policy a version that passed its gate is approved and goes out as a canary. Returns the Release;
// `outcome` tells what was done. Called again for the same run and step it answers the first outcome. Errors as
// Deployments::release.
[[nodiscard]] Result<json::Object> release_step(Deployments& deployments, const pipelines::BuiltinCall& call);

}  // namespace tidemill::deployments
