// /api/events: the log, its proof, and a live stream.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "events/events.h"

namespace tidemill::rest {

// `events` must outlive the routes.
[[nodiscard]] std::vector<http::Route> events_routes(events::Events& events);

}  // namespace tidemill::rest
