// /api/webhooks.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "webhooks/webhooks.h"

namespace tidemill::rest {

// `webhooks` must outlive the routes.
[[nodiscard]] std::vector<http::Route> webhooks_routes(webhooks::Webhooks& webhooks);

}  // namespace tidemill::rest
