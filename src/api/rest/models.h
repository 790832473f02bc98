// /api/models.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/models/models.h"

namespace tidemill::rest {

// `models` must outlive the routes.
[[nodiscard]] std::vector<http::Route> models_routes(models::Models& models);

}  // namespace tidemill::rest
