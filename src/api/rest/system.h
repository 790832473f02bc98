// /health, /version, /metrics, /api/openapi.json.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "api/http/route.h"

namespace tidemill::rest {

// `healthy` returns an empty text, or what is wrong; it is asked on I/O threads, so it must be quick. `openapi` returns
// the document.
[[nodiscard]] std::vector<http::Route> system_routes(std::function<std::string(const http::Request&)> version,
                                                     std::function<std::string()> healthy,
                                                     std::function<std::string()> openapi);

}  // namespace tidemill::rest
