// /api/predictions: what was answered and what became known later. Requests themselves go to /v2 (api/oip).
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/predictions/predictions.h"

namespace tidemill::rest {

// `predictions` must outlive the routes.
[[nodiscard]] std::vector<http::Route> predictions_routes(predictions::Predictions& predictions);

}  // namespace tidemill::rest
