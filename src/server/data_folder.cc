#include "server/data_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>

namespace tidemill::server {

Result<DataFolder> DataFolder::open(const std::filesystem::path& path) {
  TM_CHECK(make_folder(path));
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return fail(errno_error("look at", path, errno));
  if ((status.st_mode & 0077) != 0) {
    return fail(Code::kFailedPrecondition, "server.folder_open_to_others",
                fmt::format("Others may enter '{}'.", path.string()),
                fmt::format("Close it: chmod 700 '{}'", path.string()));
  }
  const auto file = path / "lock";
  FileDescriptor lock(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.open()) return fail(errno_error("open", file, errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(Code::kUnavailable, "server.folder_taken", fmt::format("Another server works in '{}'.", path.string()),
                "Stop that one, or give another folder with --data.");
  }
  return DataFolder(path, std::move(lock));
}

}  // namespace tidemill::server
