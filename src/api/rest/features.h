// /api/features.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/features/features.h"

namespace tidemill::rest {

// `features` must outlive the routes.
[[nodiscard]] std::vector<http::Route> features_routes(features::Features& features);

}  // namespace tidemill::rest
