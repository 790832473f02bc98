// MLflow's REST protocol over our rooms: what the unmodified client of MLflow 3 calls. docs/reference/mlflow.md lists
// every operation.
#pragma once

#include <filesystem>
#include <vector>

#include "api/http/route.h"
#include "flow/models/models.h"
#include "flow/runs/runs.h"

namespace tidemill::mlflow {

// `runs` and `models` must outlive the routes. `scratch_folder` must exist; files on their way to a client lie there.
[[nodiscard]] std::vector<http::Route> mlflow_routes(runs::Runs& runs, models::Models& models,
                                                     const std::filesystem::path& scratch_folder);

}  // namespace tidemill::mlflow
