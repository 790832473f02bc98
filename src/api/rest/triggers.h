// /api/triggers: what starts pipelines by itself.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/triggers/triggers.h"

namespace tidemill::rest {

// `triggers` must outlive the routes.
[[nodiscard]] std::vector<http::Route> triggers_routes(triggers::Triggers& triggers);

}  // namespace tidemill::rest
