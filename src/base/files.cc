#include "base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/ids.h"

namespace tidemill {
namespace {

constexpr std::size_t kPathBytesMax = 4096;

// Returns why `component` may not stand in a path, or nothing.
std::string_view component_fault(std::string_view component) {
  if (component.empty()) return "has an empty part";
  if (component == "." || component == "..") return "has a '.' or '..' part";
  for (const char c : component) {
    if (c == '\\') return "has a backslash";
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return "has a control character";
  }
  return {};
}

}  // namespace

Error errno_error(std::string_view action, const std::filesystem::path& path, int error_number) {
  const bool full = error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG;
  return Error{full ? Code::kExhausted : (error_number == ENOENT ? Code::kNotFound : Code::kInternal),
               full ? "storage.disk_full" : (error_number == ENOENT ? "storage.no_such_file" : "storage.io_failed"),
               "Could not " + std::string(action) + " '" + path.string() + "': " + std::strerror(error_number) + ".",
               full ? "Free space on that disk, then try again." : "",
               {{"path", path.string()}}};
}

Result<std::filesystem::path> path_beneath(const std::filesystem::path& root, std::string_view relative) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "paths.refused",
                "The path '" + std::string(relative.substr(0, 128)) + "' " + std::string(why) + ".",
                "Give a relative path such as folder/file.txt.");
  };
  if (relative.empty()) return refuse("is empty");
  if (relative.size() > kPathBytesMax) return refuse("is longer than 4096 bytes");
  if (relative.front() == '/') return refuse("is absolute");
  std::filesystem::path path = root;
  std::string_view rest = relative;
  while (true) {
    const std::size_t slash = rest.find('/');
    const std::string_view component = rest.substr(0, slash);
    if (const auto fault = component_fault(component); !fault.empty()) return refuse(fault);
    path /= std::string(component);
    struct stat status {};
    if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) return refuse("passes through a symbolic link");
    if (slash == std::string_view::npos) return path;
    rest.remove_prefix(slash + 1);
  }
}

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t bytes_max) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) return fail(errno_error("open", path, errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail(errno_error("look at", path, errno));
  if (!S_ISREG(status.st_mode)) {
    return fail(Code::kInvalidArgument, "storage.not_a_file", "'" + path.string() + "' is not a file.", "Name a file.");
  }
  std::string bytes;
  bytes.resize(static_cast<std::size_t>(status.st_size));
  std::size_t got = 0;
  while (true) {
    if (got > bytes_max) {
      return fail(Code::kTooLarge, "storage.file_too_large",
                  "'" + path.string() + "' has more than " + std::to_string(bytes_max) + " bytes.",
                  "Give a smaller file.");
    }
    if (got == bytes.size()) bytes.resize(got + 4096);
    const ssize_t count = ::read(file.get(), bytes.data() + got, bytes.size() - got);
    if (count < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error("read", path, errno));
    }
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  bytes.resize(got);
  return bytes;
}

Result<void> write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error("write", path, errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<void> write_file_durably(const std::filesystem::path& path, std::string_view bytes) {
  std::filesystem::path temporary = path;
  temporary += "." + generate_hex_id() + ".tmp";
  const FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) return fail(errno_error("create", temporary, errno));
  const auto finish = [&]() -> Result<void> {
    TM_CHECK(write_all(file.get(), bytes, temporary));
    TM_CHECK(sync_file(file.get(), temporary));
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail(errno_error("rename to", path, errno));
    return sync_folder(path.has_parent_path() ? path.parent_path() : ".");
  };
  auto result = finish();
  if (!result) ::unlink(temporary.c_str());
  return result;
}

Result<void> sync_file(int descriptor, const std::filesystem::path& path_for_message) {
  if (::fsync(descriptor) == 0) return {};
  Error error = errno_error("sync", path_for_message, errno);
  error.reason = "storage.sync_failed";
  return fail(std::move(error));
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!descriptor.open()) return fail(errno_error("open", folder, errno));
  return sync_file(descriptor.get(), folder);
}

Result<void> make_folder(const std::filesystem::path& folder) {
  std::filesystem::path made;
  for (const auto& component : folder) {
    made /= component;
    if (::mkdir(made.c_str(), 0700) == 0 || errno == EEXIST || errno == EISDIR) continue;
    return fail(errno_error("make the folder", made, errno));
  }
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return fail(errno_error("look at", folder, errno));
  if (!S_ISDIR(status.st_mode)) return fail(errno_error("make the folder", folder, ENOTDIR));
  return {};
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this != &other) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = other.release();
  }
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

int FileDescriptor::release() { return std::exchange(descriptor_, -1); }

Result<TemporaryFolder> TemporaryFolder::create(const std::filesystem::path& parent) {
  const std::filesystem::path base = parent.empty() ? std::filesystem::temp_directory_path() : parent;
  std::string pattern = (base / "tidemill-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) return fail(errno_error("make a temporary folder in", base, errno));
  return TemporaryFolder(pattern);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;  // a leftover is swept at the next start; a destructor has nobody to tell
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace tidemill
