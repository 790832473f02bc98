// Which version answers a prediction.
#pragma once

#include <cstdint>
#include <string_view>

#include "flow/deployments/types.h"

namespace tidemill::deployments {

// Returns the candidate's or the champion's version: the id is hashed with the candidate's version as seed (XXH3, 64
// bit), and falls to the candidate when it lies in its share. The same id gets the same version for as long as the
// canary lasts, on every server and after every restart; another canary draws anew. Pure; any thread.
[[nodiscard]] std::int64_t assign(const Deployment& deployment, std::string_view prediction_id);

}  // namespace tidemill::deployments
