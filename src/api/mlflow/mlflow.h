// MLflow's REST protocol over our rooms: what the unmodified client of MLflow 3 calls. docs/reference/mlflow.md lists
// every operation.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "api/http/route.h"
#include "base/clock.h"
#include "flow/models/models.h"
#include "flow/runs/runs.h"
#include "flow/traces/traces.h"
#include "webhooks/webhooks.h"

namespace tidemill::mlflow {

// What is referred to must outlive the routes. `scratch_folder` must exist; files on their way to a client lie there.
[[nodiscard]] std::vector<http::Route> mlflow_routes(runs::Runs& runs, traces::Traces& traces, models::Models& models,
                                                     const Clock& clock, const std::filesystem::path& scratch_folder);

// The endpoints of MLflow's webhooks. `webhooks` must outlive the routes.
[[nodiscard]] std::vector<http::Route> webhook_routes(webhooks::Webhooks& webhooks);

// Returns events in the words of MLflow's webhooks: registered_model.created and so on. `models` must outlive it.
[[nodiscard]] webhooks::Translation webhook_words(models::Models& models);

// Returns the version of MLflow that its clients are to be told at /version; nothing for others. From 3.4 on they send
// spans by OTLP.
[[nodiscard]] std::optional<std::string> version_for(const http::Request& request);

}  // namespace tidemill::mlflow
