// The store's logic over any Objects. Private to this room.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"
#include "storage/blobs/manifest.h"
#include "storage/blobs/objects.h"
#include "storage/blobs/store.h"

namespace tidemill::blobs {

// kInvalidArgument "blobs.bad_sizes" for sizes that do not rise or leave their bounds.
[[nodiscard]] Result<void> check_chunk_sizes(const ChunkSizes& sizes);

// A blob of one chunk has no manifest: its id is the chunk's. Immutable but for its objects: any thread.
class ChunkedStore final : public Store {
 public:
  ChunkedStore(std::unique_ptr<Objects> objects, Options options);

  Result<Stored> put_file(const std::filesystem::path& path) override;
  Result<Stored> put_bytes(std::string_view bytes) override;
  Result<std::string> read(const BlobId& id, std::uint64_t bytes_max) const override;
  Result<std::string> read_range(const BlobId& id, std::uint64_t offset, std::uint64_t length) const override;
  Result<void> copy_to(const BlobId& id, const std::filesystem::path& path) const override;
  Result<bool> has(const BlobId& id) const override;
  Result<std::uint64_t> size(const BlobId& id) const override;
  Result<Health> check() const override;
  // See Inventory.
  [[nodiscard]] Result<void> each_object(
      const std::function<Result<void>(const std::string& name, std::string_view bytes)>& visit) const;
  [[nodiscard]] Result<void> put_object(std::string_view name, std::string_view bytes);

 private:
  // Fills the buffer and returns how many bytes; 0 at the end.
  using Source = std::function<Result<std::size_t>(char* buffer, std::size_t bytes)>;

  [[nodiscard]] Result<Stored> put(const Source& source);
  [[nodiscard]] Result<Manifest> manifest(const BlobId& id) const;
  [[nodiscard]] Result<std::string> chunk(const BlobId& blob, const Chunk& chunk) const;

  const std::unique_ptr<Objects> objects_;
  const Options options_;
};

}  // namespace tidemill::blobs
