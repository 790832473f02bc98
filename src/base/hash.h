// SHA-256 (FIPS 180-4), by OpenSSL, which uses the processor's SHA instructions where it has them.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill {

using Digest = std::array<std::uint8_t, 32>;

// One digest being computed. Not thread-safe; movable.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::string_view bytes);
  // Returns the digest of everything given so far and starts anew.
  [[nodiscard]] Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] Digest sha256(std::string_view bytes);
// Returns the digest as 64 lowercase hex digits.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);
[[nodiscard]] std::string to_hex(std::string_view bytes);
[[nodiscard]] std::string to_hex(const Digest& digest);
// Returns the bytes of an even number of hex digits, or kInvalidArgument.
[[nodiscard]] Result<std::string> from_hex(std::string_view hex);
// Returns whether both are equal, in a time that depends on the length alone: for secrets.
[[nodiscard]] bool equal_in_constant_time(std::string_view a, std::string_view b);
// Returns `bytes` random bytes from the operating system's generator.
[[nodiscard]] std::string random_bytes(std::size_t bytes);

}  // namespace tidemill
