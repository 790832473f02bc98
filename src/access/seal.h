// Keeps secrets that must be used again, and so cannot be hashed: encrypted under a key that lies beside the database.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill::access {

// XChaCha20-Poly1305 (libsodium). Whoever has the database without the key file learns nothing but lengths.
// Constant after construction: any thread.
class Seal {
 public:
  // Reads the 32 bytes of `key_file`, or makes it (mode 0600) where there is none.
  [[nodiscard]] static Result<Seal> create(const std::filesystem::path& key_file);

  // `purpose` binds the secret to its place: opened with another one, it fails.
  [[nodiscard]] std::string close(std::string_view secret, std::string_view purpose) const;
  // kFailedPrecondition when key, purpose or bytes are not those it was closed with.
  [[nodiscard]] Result<std::string> open(std::string_view sealed, std::string_view purpose) const;

 private:
  std::array<std::uint8_t, 32> key_{};
};

}  // namespace tidemill::access
