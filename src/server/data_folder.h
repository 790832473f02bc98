// The folder that holds everything, and the lock on it.
#pragma once

#include <filesystem>

#include "base/files.h"
#include "base/result.h"

namespace tidemill::server {

// A locked data folder; the lock ends with this, or with the process however it ends.
class DataFolder {
 public:
  // Makes the folder (mode 0700) where there is none. kUnavailable when another server holds it; kFailedPrecondition
  // when others may read it.
  [[nodiscard]] static Result<DataFolder> open(const std::filesystem::path& path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }

 private:
  DataFolder(std::filesystem::path path, FileDescriptor lock) : path_(std::move(path)), lock_(std::move(lock)) {}
  std::filesystem::path path_;
  FileDescriptor lock_;
};

}  // namespace tidemill::server
