// Bytes by what they are: a blob's name is the SHA-256 of its content, so the same content is stored once and a changed
// byte is noticed.
//
// A blob is cut into chunks by content (chunker.h); chunks are shared between blobs, so a file that changed in one
// place costs about one chunk. A manifest lists a blob's chunks. What is acknowledged is on disk: chunks are synced
// before their manifest is named, so a crash leaves at most chunks that nobody names yet.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "storage/blobs/chunker.h"

namespace tidemill::blobs {

// SHA-256 of a blob's content, as 64 lowercase hex digits.
class BlobId {
 public:
  BlobId() = default;  // empty; only to be assigned to
  // Returns the id, or kInvalidArgument when `text` is not 64 lowercase hex digits.
  [[nodiscard]] static Result<BlobId> parse(std::string_view text);
  // Takes text that the caller knows to be an id, such as one read back from our own table.
  [[nodiscard]] static BlobId trusted(std::string text) { return BlobId(std::move(text)); }

  [[nodiscard]] const std::string& str() const { return value_; }
  [[nodiscard]] bool empty() const { return value_.empty(); }
  auto operator<=>(const BlobId&) const = default;

 private:
  explicit BlobId(std::string value) : value_(std::move(value)) {}
  std::string value_;
};

struct Stored {
  BlobId id;
  std::uint64_t bytes = 0;      // of the content
  std::uint64_t bytes_new = 0;  // of chunks that were not there before
};

struct Damage {
  std::string what;  // "blob <id>: chunk <id> is missing"
};

struct Health {
  std::uint64_t blobs = 0;  // of more than one chunk; a smaller one is its chunk
  std::uint64_t chunks = 0;
  std::uint64_t bytes = 0;      // of all chunks
  std::vector<Damage> damages;  // empty = every blob can be read back
};

// All functions may be called from any thread. Errors beyond those named: kExhausted "storage.disk_full", kInternal for
// a failing disk.
class Store {
 public:
  virtual ~Store() = default;

  // Stores the content and returns only after it is durable. Storing what is there already writes nothing.
  [[nodiscard]] virtual Result<Stored> put_file(const std::filesystem::path& path) = 0;
  [[nodiscard]] virtual Result<Stored> put_bytes(std::string_view bytes) = 0;

  // Returns the whole content; kTooLarge past `bytes_max`. Reading checks hashes: kInternal "blobs.damaged" where a
  // byte has changed or a chunk is gone, never other bytes than were stored. kNotFound "blobs.unknown" when there is no
  // such blob.
  [[nodiscard]] virtual Result<std::string> read(const BlobId& id, std::uint64_t bytes_max) const = 0;

  // Returns bytes [offset, offset + length), fewer at the end of the blob and none past it. Whole chunks are checked.
  [[nodiscard]] virtual Result<std::string> read_range(const BlobId& id, std::uint64_t offset,
                                                       std::uint64_t length) const = 0;

  // Writes the content to `path`, mode 0400, by way of a temporary file beside it, synced and renamed after its hash
  // has been found right.
  [[nodiscard]] virtual Result<void> copy_to(const BlobId& id, const std::filesystem::path& path) const = 0;

  [[nodiscard]] virtual Result<bool> has(const BlobId& id) const = 0;
  // Returns the length of the content in bytes.
  [[nodiscard]] virtual Result<std::uint64_t> size(const BlobId& id) const = 0;

  // Reads everything back and reports what is damaged. Takes long; others may go on meanwhile.
  [[nodiscard]] virtual Result<Health> check() const = 0;
};

struct Options {
  ChunkSizes sizes{};
  std::uint64_t blob_bytes_max = std::uint64_t{1} << 40;  // past it: kTooLarge
};

// A store in a folder: chunks/<2 hex>/<id>, blobs/<2 hex>/<id> for manifests, incoming/ for what is being written.
class LocalStore {
 public:
  // Makes the folder when there is none, and removes what a crash left in incoming/. One process at a time owns the
  // folder.
  [[nodiscard]] static Result<std::unique_ptr<Store>> create(const std::filesystem::path& root, Options options = {});
};

}  // namespace tidemill::blobs
