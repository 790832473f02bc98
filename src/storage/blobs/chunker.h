// Where a stream of bytes is cut, decided by the bytes themselves: an insertion moves only the cuts near it.
//
// FastCDC: W. Xia et al., "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication",
// USENIX ATC 2016, and "The Design of Fast Content-Defined Chunking for Data Deduplication Based Storage Systems",
// IEEE TPDS 31(9), 2020: a gear hash, no test before the smallest size, and normalized chunking (level 2: a mask two
// bits harder before the wanted size, two bits easier after it), which keeps sizes near the wanted one.
#pragma once

#include <cstddef>
#include <string_view>

namespace tidemill::blobs {

struct ChunkSizes {
  std::size_t bytes_min = 16 * 1024;
  std::size_t bytes_wanted = 64 * 1024;  // a power of two
  std::size_t bytes_max = 256 * 1024;
};

// Returns the length of the first chunk of `bytes`: at least bytes_min and at most bytes_max, or all of `bytes` when
// there are fewer than that. The caller must hand in bytes_max bytes unless the stream ends earlier. The same bytes are
// cut the same way for ever: the gear table and the masks are part of the format of stored blobs' sharing, though not
// of reading them.
[[nodiscard]] std::size_t chunk_length(std::string_view bytes, const ChunkSizes& sizes = {});

}  // namespace tidemill::blobs
