// Writes what a source holds as MLflow's file store.
#pragma once

#include <filesystem>

#include "cli/mlflow_ledger.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli::mlflow {

// Makes `folder` and fills it. Files are hashed after they are written. What cannot be a file there, such as a metric
// whose name leads elsewhere, is left out and noted.
[[nodiscard]] Result<void> export_folder(Source& source, const std::filesystem::path& folder, Ledger& ledger);

}  // namespace tidemill::cli::mlflow
