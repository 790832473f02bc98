// Files, durably, and never outside their root.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill {

// The one function that makes a path beneath a root from text that a caller sent.
// Returns root/relative with `relative` taken as it stands (no decoding). kInvalidArgument when it is empty, absolute,
// has a
// "." or ".." or empty component, a backslash, a NUL or another control character, or is longer than 4096 bytes; also
// when a component that exists already is a symbolic link, so that nothing planted inside the root leads out of it.
[[nodiscard]] Result<std::filesystem::path> path_beneath(const std::filesystem::path& root, std::string_view relative);

// Returns the whole file; kNotFound when there is none, kTooLarge past `bytes_max`.
[[nodiscard]] Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t bytes_max);

// Writes `bytes` so that after a crash the path holds either the old content or all of the new one, and after success
// the new one survives a power cut: temporary file beside it, write, fsync, rename, fsync of the folder.
[[nodiscard]] Result<void> write_file_durably(const std::filesystem::path& path, std::string_view bytes);

// Writes all of `bytes` at the descriptor's position, however many calls that takes; `path` is for the message. Not
// durable by itself.
[[nodiscard]] Result<void> write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path);

// fsyncs an open file, or a folder by path, so that renames into it survive. A failure is kInternal, reason
// "storage.sync_failed", and must never be retried: the kernel may have dropped the dirty pages already.
[[nodiscard]] Result<void> sync_file(int descriptor, const std::filesystem::path& path_for_message);
[[nodiscard]] Result<void> sync_folder(const std::filesystem::path& folder);

// Makes the folder and its parents, mode 0700.
[[nodiscard]] Result<void> make_folder(const std::filesystem::path& folder);

// Returns an Error that tells what `action` on `path` met, from errno: kExhausted when the disk is full, else
// kInternal.
[[nodiscard]] Error errno_error(std::string_view action, const std::filesystem::path& path, int error_number);

// A file descriptor that closes itself. Movable.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();

  [[nodiscard]] int get() const { return descriptor_; }
  [[nodiscard]] bool open() const { return descriptor_ >= 0; }
  // Gives the descriptor up to the caller, who closes it.
  [[nodiscard]] int release();

 private:
  int descriptor_ = -1;
};

// A fresh folder, mode 0700, removed with all that is in it at the end.
class TemporaryFolder {
 public:
  // Makes it beneath `parent`, or beneath the system's temporary folder when `parent` is empty.
  [[nodiscard]] static Result<TemporaryFolder> create(const std::filesystem::path& parent = {});
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::move(other.path_)) { other.path_.clear(); }
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace tidemill
