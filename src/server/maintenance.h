// The verbs that work on a data folder without a server: check, backup, restore.
#pragma once

#include <string_view>

#include "base/result.h"
#include "server/config.h"
#include "storage/blobs/s3.h"

namespace tidemill::server {

// Returns the bucket that the configuration names, with credentials from the environment.
[[nodiscard]] Result<blobs::S3Bucket> bucket_of(const Config& config);

[[nodiscard]] bool is_maintenance(std::string_view verb);

// Runs the verb argv[0] and returns the exit code: 0 done and sound, 1 failed or damage found, 2 wrong use.
[[nodiscard]] int run_maintenance(int argc, char** argv);

}  // namespace tidemill::server
