// How two versions differ. Private.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/datasets/types.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

// A version with its files.
struct Side {
  const Version& version;
  std::vector<std::filesystem::path> files;
};

[[nodiscard]] Result<Diff> compare(tables::Tables& tables, const Side& from, const Side& to,
                                   const std::vector<std::string>& keys);

}  // namespace tidemill::datasets
