#include "base/ids.h"

#include <openssl/rand.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>

namespace tidemill {
namespace {

constexpr std::size_t kNameBytesMax = 128;

bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

std::string generate_hex_id() {
  std::array<std::uint8_t, 16> bytes{};
  // Without randomness ids could collide and tokens be guessed, so there is nothing sensible to go on with.
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) std::abort();
  // The id's time is for locality only, never read back, so the injected clock is not asked.
  const auto now_ms = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  for (int i = 0; i < 6; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(now_ms >> (40 - 8 * i));
  bytes[6] = static_cast<std::uint8_t>((bytes[6] & 0x0F) | 0x70);
  bytes[8] = static_cast<std::uint8_t>((bytes[8] & 0x3F) | 0x80);

  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  text.reserve(32);
  for (const std::uint8_t byte : bytes) {
    text.push_back(kHex[byte >> 4]);
    text.push_back(kHex[byte & 0x0F]);
  }
  return text;
}

bool is_hex_id(std::string_view text) {
  return text.size() == 32 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Result<std::string> check_name(std::string_view noun, std::string_view name) {
  const bool good = !name.empty() && name.size() <= kNameBytesMax && is_alnum(name.front()) &&
                    std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; });
  if (good) return std::string(name);
  return fail(Code::kInvalidArgument, "names.malformed",
              "'" + std::string(name.substr(0, 64)) + "' cannot name a " + std::string(noun) + ".",
              "Use 1 to 128 of the characters A-Z a-z 0-9 . _ - and start with a letter or a digit.",
              {{"noun", std::string(noun)}, {"name", std::string(name.substr(0, 64))}});
}

}  // namespace tidemill
