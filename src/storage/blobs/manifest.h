// The list of a blob's chunks as text. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tidemill::blobs {

struct Chunk {
  std::string hex;  // SHA-256 of its bytes
  std::uint64_t bytes = 0;
  bool operator==(const Chunk&) const = default;
};

struct Manifest {
  std::uint64_t bytes = 0;  // of all chunks
  std::vector<Chunk> chunks;
  bool operator==(const Manifest&) const = default;
};

// Returns
//   tidemill-blob 1
//   bytes <total>
//   <chunk id> <its bytes>       one line each, in order
//   sha256 <of all lines above>
[[nodiscard]] std::string write_manifest(const Manifest& manifest);

// Returns the manifest of that text; kInternal "blobs.damaged" when a byte of it is not as it was written, its lengths
// do not add up, or a chunk has no bytes or more than `chunk_bytes_max`.
[[nodiscard]] Result<Manifest> read_manifest(std::string_view text, std::uint64_t chunk_bytes_max);

}  // namespace tidemill::blobs
