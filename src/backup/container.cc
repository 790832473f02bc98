#include "backup/container.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/files.h"

namespace tidemill::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBufferBytes = 1 << 20;

std::unexpected<Error> damaged(const fs::path& source, std::string_view why) {
  return fail(Code::kInternal, "backup.damaged",
              fmt::format("The backup '{}' cannot be read: {}.", source.string(), why), "Use another backup.");
}

std::unexpected<Error> taken(const fs::path& target) {
  return fail(Code::kAlreadyExists, "backup.exists", fmt::format("'{}' is there already.", target.string()),
              "Give a name that is free; nothing is written over.");
}

// Hands exactly `bytes` bytes of `read` to `take`.
Result<void> pump(std::uint64_t bytes, const Read& read, const std::function<Result<void>(std::string_view)>& take) {
  std::vector<char> buffer(std::min<std::uint64_t>(kBufferBytes, std::max<std::uint64_t>(bytes, 1)));
  while (bytes > 0) {
    const std::size_t wanted = std::min<std::uint64_t>(buffer.size(), bytes);
    const std::size_t got = TM_TRY(read(buffer.data(), wanted));
    if (got == 0) return fail(Code::kInternal, "backup.short", fmt::format("{} bytes are missing.", bytes));
    TM_CHECK(take(std::string_view(buffer.data(), got)));
    bytes -= got;
  }
  return {};
}

class FolderWriter final : public Writer {
 public:
  explicit FolderWriter(fs::path root) : root_(std::move(root)) {}

  Result<void> add(const std::string& name, std::uint64_t bytes, const Read& read) override {
    const fs::path path = TM_TRY(path_beneath(root_, name));
    TM_CHECK(make_folder(path.parent_path()));
    const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.open()) return fail(errno_error("create", path, errno));
    return pump(bytes, read, [&](std::string_view part) { return write_all(file.get(), part, path); });
  }
  Result<void> finish(const std::string& name, std::string_view bytes) override {
    const FileDescriptor folder(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.open() || ::syncfs(folder.get()) != 0) return fail(errno_error("sync", root_, errno));
    return write_file_durably(root_ / name, bytes);
  }

 private:
  const fs::path root_;
};

class TarWriter final : public Writer {
 public:
  explicit TarWriter(fs::path target) : target_(std::move(target)), part_(target_.string() + ".part") {}
  TarWriter(const TarWriter&) = delete;
  TarWriter& operator=(const TarWriter&) = delete;
  ~TarWriter() override {
    archive_write_free(archive_);
    if (!finished_ && file_.open()) ::unlink(part_.c_str());
  }

  Result<void> open() {
    ::unlink(part_.c_str());  // of a backup that was killed
    file_ = FileDescriptor(::open(part_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file_.open()) return fail(errno_error("create", part_, errno));
    archive_write_set_format_pax_restricted(archive_);
    if (archive_write_open_fd(archive_, file_.get()) != ARCHIVE_OK) return broken();
    return {};
  }
  Result<void> add(const std::string& name, std::uint64_t bytes, const Read& read) override {
    const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> entry(archive_entry_new(), &archive_entry_free);
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes));
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0600);
    if (archive_write_header(archive_, entry.get()) != ARCHIVE_OK) return broken();
    return pump(bytes, read, [&](std::string_view part) -> Result<void> {
      if (archive_write_data(archive_, part.data(), part.size()) != static_cast<la_ssize_t>(part.size()))
        return broken();
      return {};
    });
  }
  Result<void> finish(const std::string& name, std::string_view bytes) override {
    TM_CHECK(add(name, bytes.size(), read_of(bytes)));
    if (archive_write_close(archive_) != ARCHIVE_OK) return broken();
    TM_CHECK(sync_file(file_.get(), part_));
    // A link fails where there is such a name, which a rename would replace.
    if (::link(part_.c_str(), target_.c_str()) != 0) {
      return errno == EEXIST ? Result<void>(taken(target_)) : fail(errno_error("name", target_, errno));
    }
    ::unlink(part_.c_str());
    finished_ = true;
    return sync_folder(target_.has_parent_path() ? target_.parent_path() : ".");
  }

 private:
  [[nodiscard]] std::unexpected<Error> broken() const {
    return fail(errno_error(archive_error_string(archive_), part_, archive_errno(archive_)));
  }

  const fs::path target_;
  const fs::path part_;
  archive* const archive_ = archive_write_new();
  FileDescriptor file_;
  bool finished_ = false;
};

Result<void> read_folder(const fs::path& source, const Entry& visit) {
  std::error_code error;
  for (fs::recursive_directory_iterator at(source, error), end; !error && at != end; at.increment(error)) {
    if (at->is_symlink()) return damaged(source, "it holds a link, " + at->path().string());
    if (at->is_directory()) continue;
    const FileDescriptor file(::open(at->path().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.open()) return fail(errno_error("open", at->path(), errno));
    TM_CHECK(
        visit(fs::relative(at->path(), source).string(), [&](char* buffer, std::size_t bytes) -> Result<std::size_t> {
          const ssize_t got = ::read(file.get(), buffer, bytes);
          if (got < 0) return fail(errno_error("read", at->path(), errno));
          return static_cast<std::size_t>(got);
        }));
  }
  if (error) return fail(errno_error("list", source, error.value()));
  return {};
}

Result<void> read_tar(const fs::path& source, const Entry& visit) {
  const std::unique_ptr<archive, decltype(&archive_read_free)> tar(archive_read_new(), &archive_read_free);
  archive_read_support_format_tar(tar.get());
  if (archive_read_open_filename(tar.get(), source.c_str(), kBufferBytes) != ARCHIVE_OK) {
    return damaged(source, archive_error_string(tar.get()));
  }
  archive_entry* entry = nullptr;
  int code = ARCHIVE_OK;
  while ((code = archive_read_next_header(tar.get(), &entry)) == ARCHIVE_OK) {
    const char* name = archive_entry_pathname(entry);
    if (name == nullptr || archive_entry_filetype(entry) != AE_IFREG)
      return damaged(source, "it holds what is no file");
    TM_CHECK(visit(name, [&](char* buffer, std::size_t bytes) -> Result<std::size_t> {
      const la_ssize_t got = archive_read_data(tar.get(), buffer, bytes);
      if (got < 0) return damaged(source, archive_error_string(tar.get()));
      return static_cast<std::size_t>(got);
    }));
  }
  if (code != ARCHIVE_EOF) return damaged(source, archive_error_string(tar.get()));
  return {};
}

}  // namespace

Read read_of(std::string_view bytes) {
  return [bytes](char* buffer, std::size_t bytes_max) mutable -> Result<std::size_t> {
    const std::size_t count = std::min(bytes_max, bytes.size());
    std::memcpy(buffer, bytes.data(), count);
    bytes.remove_prefix(count);
    return count;
  };
}

Result<std::unique_ptr<Writer>> create_container(const fs::path& target) {
  std::error_code error;
  if (target.extension() == ".tar") {
    if (fs::exists(target, error)) return taken(target);
    auto writer = std::make_unique<TarWriter>(target);
    TM_CHECK(writer->open());
    return std::unique_ptr<Writer>(std::move(writer));
  }
  if (fs::exists(target, error) && !(fs::is_directory(target, error) && fs::is_empty(target, error))) {
    return taken(target);
  }
  TM_CHECK(make_folder(target));
  return std::unique_ptr<Writer>(std::make_unique<FolderWriter>(target));
}

Result<void> read_container(const fs::path& source, const Entry& visit) {
  std::error_code error;
  if (fs::is_directory(source, error)) return read_folder(source, visit);
  if (fs::is_regular_file(source, error)) return read_tar(source, visit);
  return fail(Code::kNotFound, "backup.none", fmt::format("There is no backup '{}'.", source.string()),
              "Name a folder or a .tar that tidemill backup made.");
}

}  // namespace tidemill::backup
