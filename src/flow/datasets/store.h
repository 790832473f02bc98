// The tables of this room. Private.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/datasets/types.h"
#include "storage/sql/database.h"

namespace tidemill::datasets {

// kAlreadyExists when the name is taken.
[[nodiscard]] Result<void> insert_dataset(sql::Tx& tx, const NewDataset& dataset, std::string_view made_by,
                                          std::int64_t made_ms);
// kNotFound "datasets.unknown".
[[nodiscard]] Result<Dataset> find_dataset(sql::Tx& tx, std::string_view name);
[[nodiscard]] Result<std::vector<Dataset>> all_datasets(sql::Tx& tx);
// Keeps everything of `dataset` but latest, rows, made_by and made_ms.
[[nodiscard]] Result<void> update_dataset(sql::Tx& tx, const Dataset& dataset);

// Keeps the version and makes it the dataset's newest; kConflict when its number is not the one after the newest.
[[nodiscard]] Result<void> insert_version(sql::Tx& tx, const Version& version);
// kNotFound "datasets.no_version".
[[nodiscard]] Result<Version> find_version(sql::Tx& tx, std::string_view dataset, std::int64_t number);
[[nodiscard]] Result<std::vector<VersionLine>> all_versions(sql::Tx& tx, std::string_view dataset);

}  // namespace tidemill::datasets
