// What the protocol tells about a deployment. Private to this room.
#pragma once

#include "base/json.h"
#include "flow/predictions/predictions.h"

namespace tidemill::oip {

// Returns the metadata of one version that the deployment runs: an input per column, the outputs, and as `tensor` the
// model's own matrix.
[[nodiscard]] json::Value metadata_of(const predictions::Loaded& loaded, const models::Scorer& scorer);

// Returns the numbers of the versions that run, champion first, as text.
[[nodiscard]] json::Array versions_of(const predictions::Loaded& loaded);

}  // namespace tidemill::oip
