#pragma once

#include <vector>

#include "api/http/route.h"
#include "flow/deployments/deployments.h"
#include "flow/models/models.h"
#include "flow/pipelines/pipelines.h"
#include "flow/runs/runs.h"

namespace tidemill::rest {

// The rooms that a graph is put together from; all must outlive the routes.
struct LineageRooms {
  runs::Runs& runs;
  pipelines::Pipelines& pipelines;
  models::Models& models;
  deployments::Deployments& deployments;
};

[[nodiscard]] std::vector<http::Route> lineage_routes(const LineageRooms& rooms);

}  // namespace tidemill::rest
