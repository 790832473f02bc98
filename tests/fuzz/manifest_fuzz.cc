// Any lines under a good seal as the manifest of a blob: refused, or read into what is written as the same lines but
// for zeros in front.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/hash.h"
#include "storage/blobs/manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tidemill;
  std::string text = "tidemill-blob 1\nbytes " + std::string(reinterpret_cast<const char*>(data), size);
  text += "sha256 " + sha256_hex(text) + "\n";
  const auto manifest = blobs::read_manifest(text, 1 << 20);
  if (!manifest) return 0;
  std::uint64_t sum = 0;
  for (const auto& chunk : manifest->chunks) sum += chunk.bytes;
  if (sum != manifest->bytes) std::abort();
  const auto back = blobs::read_manifest(blobs::write_manifest(*manifest), 1 << 20);
  if (!back || *back != *manifest) std::abort();
  return 0;
}
