// /api/requirements.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/requirements/requirements.h"

namespace tidemill::rest {

// `requirements` must outlive the routes.
[[nodiscard]] std::vector<http::Route> requirements_routes(requirements::Requirements& requirements);

}  // namespace tidemill::rest
