// /api/people, /api/approvals, /api/me.
#pragma once

#include <vector>

#include "access/access.h"
#include "api/http/route.h"

namespace tidemill::rest {

// `access` must outlive the routes.
[[nodiscard]] std::vector<http::Route> access_routes(access::Access& access);

}  // namespace tidemill::rest
