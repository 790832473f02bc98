// /api/datasets: datasets, their rules and versions, rows and differences.
#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/datasets/datasets.h"

namespace tidemill::rest {

// `datasets` must outlive the routes.
[[nodiscard]] std::vector<http::Route> datasets_routes(datasets::Datasets& datasets);

}  // namespace tidemill::rest
