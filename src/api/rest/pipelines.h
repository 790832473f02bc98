// /api/pipelines: versions of pipelines, their runs, logs and outputs.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/pipelines/pipelines.h"
#include "storage/blobs/store.h"

namespace tidemill::rest {

// Both must outlive the routes. `blobs` is where the outputs of steps are kept.
[[nodiscard]] std::vector<http::Route> pipelines_routes(pipelines::Pipelines& pipelines, blobs::Store& blobs);

}  // namespace tidemill::rest
