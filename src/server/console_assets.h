// The files of the console that this binary holds; made by cmake/console.cmake.
#pragma once

#include <span>

#include "api/rest/console.h"

namespace tidemill::server {

// Returns the files of web/dist; empty when it was not there at build time.
[[nodiscard]] std::span<const rest::Asset> console_assets();

}  // namespace tidemill::server
