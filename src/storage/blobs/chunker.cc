#include "storage/blobs/chunker.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace tidemill::blobs {
namespace {

constexpr int kNormalization = 2;  // bits by which the masks differ from the one for the wanted size

// 256 fixed random words, by splitmix64 (S. Vigna, 2015) from a seed that is part of the format.
constexpr std::array<std::uint64_t, 256> make_gear() {
  std::array<std::uint64_t, 256> gear{};
  std::uint64_t state = 0x7469'6465'6d69'6c6cU;  // "tidemill"
  for (auto& word : gear) {
    state += 0x9e37'79b9'7f4a'7c15U;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xbf58'476d'1ce4'e5b9U;
    z = (z ^ (z >> 27)) * 0x94d0'49bb'1331'11ebU;
    word = z ^ (z >> 31);
  }
  return gear;
}

constexpr auto kGear = make_gear();

// The highest bits of the gear hash depend on the most bytes (64 of them), so the mask takes those.
constexpr std::uint64_t high_mask(int bits) { return ~std::uint64_t{0} << (64 - bits); }

}  // namespace

std::size_t chunk_length(std::string_view bytes, const ChunkSizes& sizes) {
  const std::size_t end = std::min(bytes.size(), sizes.bytes_max);
  if (end <= sizes.bytes_min) return end;
  const int bits = std::countr_zero(sizes.bytes_wanted);
  const std::uint64_t hard = high_mask(bits + kNormalization);
  const std::uint64_t easy = high_mask(bits - kNormalization);
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  std::uint64_t hash = 0;
  std::size_t at = sizes.bytes_min;
  for (const std::size_t wanted = std::min(end, sizes.bytes_wanted); at < wanted; ++at) {
    hash = (hash << 1) + kGear[data[at]];
    if ((hash & hard) == 0) return at + 1;
  }
  for (; at < end; ++at) {
    hash = (hash << 1) + kGear[data[at]];
    if ((hash & easy) == 0) return at + 1;
  }
  return end;
}

}  // namespace tidemill::blobs
