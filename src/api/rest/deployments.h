// /api/deployments.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/deployments/deployments.h"
#include "flow/predictions/predictions.h"

namespace tidemill::rest {

// Both must outlive the routes. A change is answered once `predictions` answers by it, so that the next request sees
// it.
[[nodiscard]] std::vector<http::Route> deployments_routes(deployments::Deployments& deployments,
                                                          predictions::Predictions& predictions);

}  // namespace tidemill::rest
