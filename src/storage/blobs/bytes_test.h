// Bytes for tests, and how they are damaged.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

namespace tidemill::blobs {

inline std::string random_text(std::size_t bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; i += 8) {
    const std::uint64_t word = random();
    for (std::size_t j = i; j < std::min(bytes, i + 8); ++j) text[j] = static_cast<char>(word >> (8 * (j - i)));
  }
  return text;
}

// Flips one bit of the object `hex` in a folder laid out as LocalStore's, or removes it; returns false when there is
// none.
inline bool damage_object(const std::filesystem::path& folder, const std::string& hex, bool remove) {
  for (const char* kind : {"chunks", "blobs"}) {
    const auto path = folder / kind / hex.substr(0, 2) / hex;
    if (!std::filesystem::exists(path)) continue;
    if (remove) return std::filesystem::remove(path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(40);
    const int byte = file.get();
    file.seekp(40);
    file.put(static_cast<char>(byte ^ 1));
    return file.good();
  }
  return false;
}

}  // namespace tidemill::blobs
