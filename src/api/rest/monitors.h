// /api/monitors: definitions and closed windows.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/monitors/monitors.h"

namespace tidemill::rest {

// `monitors` must outlive the routes.
[[nodiscard]] std::vector<http::Route> monitors_routes(monitors::Monitors& monitors);

}  // namespace tidemill::rest
