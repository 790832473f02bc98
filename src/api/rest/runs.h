// /api/runs and /api/experiments: reading what training code logged, for the console and the command line.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/runs/runs.h"

namespace tidemill::rest {

// `runs` must outlive the routes.
[[nodiscard]] std::vector<http::Route> runs_routes(runs::Runs& runs);

}  // namespace tidemill::rest
