// What a backup is written to and read from: a folder, or one file in the form of tar. Private to this room.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill::backup {

// Fills the buffer and returns how many bytes; 0 at the end.
using Read = std::function<Result<std::size_t>(char* buffer, std::size_t bytes)>;

// One thread. Without finish() the backup is not whole and is told from one that is.
class Writer {
 public:
  virtual ~Writer() = default;
  // Writes `bytes` bytes that `read` gives, under a relative name.
  [[nodiscard]] virtual Result<void> add(const std::string& name, std::uint64_t bytes, const Read& read) = 0;
  // Writes the last of all entries, once everything before it is on disk; returns after it is on disk, too.
  [[nodiscard]] virtual Result<void> finish(const std::string& name, std::string_view bytes) = 0;
};

// Makes the folder, or for a name that ends in ".tar" the file. kAlreadyExists "backup.exists" when there is a file or
// a folder that is not empty.
[[nodiscard]] Result<std::unique_ptr<Writer>> create_container(const std::filesystem::path& target);

// Calls `visit` with every entry; it may leave the rest of one unread. kNotFound when there is no such backup;
// kInternal "backup.damaged" where it cannot be read.
using Entry = std::function<Result<void>(const std::string& name, const Read& read)>;
[[nodiscard]] Result<void> read_container(const std::filesystem::path& source, const Entry& visit);

// Returns a Read of bytes that outlive it.
[[nodiscard]] Read read_of(std::string_view bytes);

}  // namespace tidemill::backup
