// /api/traces: reading what applications did, for the console and the command line.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/runs/runs.h"
#include "flow/traces/traces.h"

namespace tidemill::rest {

// What is referred to must outlive the routes.
[[nodiscard]] std::vector<http::Route> traces_routes(traces::Traces& traces, runs::Runs& runs);

}  // namespace tidemill::rest
