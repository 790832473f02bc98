#include "access/seal.h"

#include <sodium.h>

#include <algorithm>

#include "base/files.h"
#include "base/hash.h"

namespace tidemill::access {
namespace {

constexpr std::size_t kNonceBytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
constexpr std::size_t kMacBytes = crypto_aead_xchacha20poly1305_ietf_ABYTES;

const std::uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

}  // namespace

Result<Seal> Seal::create(const std::filesystem::path& key_file) {
  if (sodium_init() < 0) return fail(Code::kInternal, "access.no_sodium", "libsodium could not be started.");
  Seal seal;
  auto key = read_file(key_file, seal.key_.size());
  if (!key && key.error().code == Code::kNotFound) {
    key = random_bytes(seal.key_.size());
    TM_CHECK(write_file_durably(key_file, *key));
    std::error_code error;
    std::filesystem::permissions(key_file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write,
                                 error);
    if (error) return fail(errno_error("protecting", key_file, error.value()));
  }
  TM_CHECK(key);
  if (key->size() != seal.key_.size()) {
    return fail(Code::kFailedPrecondition, "access.bad_key_file",
                "The key file '" + key_file.string() + "' does not have 32 bytes.", "Restore it from a backup.");
  }
  std::ranges::copy(*key, seal.key_.begin());
  return seal;
}

std::string Seal::close(std::string_view secret, std::string_view purpose) const {
  std::string out = random_bytes(kNonceBytes);
  out.resize(kNonceBytes + secret.size() + kMacBytes);
  auto* text = reinterpret_cast<std::uint8_t*>(out.data());
  crypto_aead_xchacha20poly1305_ietf_encrypt(text + kNonceBytes, nullptr, bytes_of(secret), secret.size(),
                                             bytes_of(purpose), purpose.size(), nullptr, text, key_.data());
  return out;
}

Result<std::string> Seal::open(std::string_view sealed, std::string_view purpose) const {
  std::string out(sealed.size() < kNonceBytes + kMacBytes ? 0 : sealed.size() - kNonceBytes - kMacBytes, '\0');
  if (sealed.size() < kNonceBytes + kMacBytes ||
      crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<std::uint8_t*>(out.data()), nullptr, nullptr, bytes_of(sealed) + kNonceBytes,
          sealed.size() - kNonceBytes, bytes_of(purpose), purpose.size(), bytes_of(sealed), key_.data()) != 0) {
    return fail(Code::kFailedPrecondition, "access.unsealable",
                "A stored secret cannot be read with this server's key.",
                "Restore the key file that belongs to this database, or set the secret again.");
  }
  return out;
}

}  // namespace tidemill::access
