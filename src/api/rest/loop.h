// /api/loop: what every room is doing, for the console's home page and for whoever waits until nothing is left to do.
#pragma once

#include <vector>

#include "access/access.h"
#include "api/http/route.h"
#include "events/events.h"
#include "flow/datasets/datasets.h"
#include "flow/deployments/deployments.h"
#include "flow/features/features.h"
#include "flow/models/models.h"
#include "flow/monitors/monitors.h"
#include "flow/pipelines/pipelines.h"
#include "flow/predictions/predictions.h"
#include "flow/requirements/requirements.h"
#include "flow/triggers/triggers.h"
#include "storage/sql/database.h"

namespace tidemill::rest {

// The rooms that the view looks at; all must outlive the routes.
struct LoopRooms {
  sql::Database& database;
  events::Events& events;
  access::Access& access;
  requirements::Requirements& requirements;
  datasets::Datasets& datasets;
  features::Features& features;
  pipelines::Pipelines& pipelines;
  models::Models& models;
  deployments::Deployments& deployments;
  predictions::Predictions& predictions;
  monitors::Monitors& monitors;
  triggers::Triggers& triggers;
};

[[nodiscard]] std::vector<http::Route> loop_routes(const LoopRooms& rooms);

}  // namespace tidemill::rest
