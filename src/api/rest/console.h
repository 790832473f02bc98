// The console: the files of web/dist, which the binary holds.
#pragma once

#include <span>
#include <string_view>

#include "api/http/route.h"

namespace tidemill::rest {

// One file, such as "assets/index-4f2a.js". Both views live as long as the process.
struct Asset {
  std::string_view path;
  std::string_view bytes;
};

// Returns the route for Router::fall_back: "/" and every address that is no file get index.html, whose script reads the
// address; a missing file is 404. Files beneath assets/ carry a hash in their name and are cached for ever, others are
// checked with the server each time (ETag). Open to whoever reaches the server: the files hold no data.
[[nodiscard]] http::Route console_route(std::span<const Asset> assets);

}  // namespace tidemill::rest
