#include "storage/tables/utf8.h"

#include <cstdint>
#include <cstring>

namespace tidemill::tables {
namespace {

// Returns the length of the well-formed sequence at the front, which begins with a byte of 0x80 or more; 0 when there
// is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const auto tail = [&](std::size_t i) { return i < text.size() && (byte(i) & 0xC0) == 0x80; };
  const std::uint8_t first = byte(0);
  if (first >= 0xC2 && first <= 0xDF) return tail(1) ? 2 : 0;
  if (!tail(1)) return 0;
  const std::uint8_t second = byte(1);
  if (first >= 0xE0 && first <= 0xEF) {
    const bool good = (first != 0xE0 || second >= 0xA0) && (first != 0xED || second <= 0x9F);
    return good && tail(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool good = (first != 0xF0 || second >= 0x90) && (first != 0xF4 || second <= 0x8F);
    return good && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::size_t first_bad_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (text.size() - at >= 8) {  // most text is ASCII: eight bytes at a time
      std::uint64_t eight = 0;
      std::memcpy(&eight, text.data() + at, 8);
      if ((eight & 0x8080808080808080U) == 0) {
        at += 8;
        continue;
      }
    }
    if (static_cast<std::uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const std::size_t length = sequence_length(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace tidemill::tables
