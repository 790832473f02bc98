#include "storage/blobs/manifest.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>

#include "base/hash.h"
#include "storage/blobs/store.h"

namespace tidemill::blobs {
namespace {

constexpr std::string_view kHead = "tidemill-blob 1\nbytes ";
constexpr std::string_view kSeal = "sha256 ";
constexpr std::size_t kHexChars = 64;

std::unexpected<Error> damaged(std::string_view why) {
  return fail(Code::kInternal, "blobs.damaged", fmt::format("A manifest is damaged: {}.", why),
              "Restore it from a backup.");
}

// Takes a number and the newline after it off the front of `text`.
bool take_number(std::string_view& text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size() || *end != '\n') return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  return true;
}

}  // namespace

std::string write_manifest(const Manifest& manifest) {
  std::string text = fmt::format("{}{}\n", kHead, manifest.bytes);
  for (const Chunk& chunk : manifest.chunks)
    fmt::format_to(std::back_inserter(text), "{} {}\n", chunk.hex, chunk.bytes);
  const std::string seal = sha256_hex(text);
  return fmt::format("{}{}{}\n", text, kSeal, seal);
}

Result<Manifest> read_manifest(std::string_view text, std::uint64_t chunk_bytes_max) {
  constexpr std::size_t kSealChars = kSeal.size() + kHexChars + 1;
  if (text.size() < kHead.size() + kSealChars || !text.starts_with(kHead)) return damaged("it is cut short");
  std::string_view body = text.substr(0, text.size() - kSealChars);
  if (text.substr(body.size()) != fmt::format("{}{}\n", kSeal, sha256_hex(body)))
    return damaged("its hash does not fit");
  body.remove_prefix(kHead.size());
  Manifest manifest;
  if (!take_number(body, manifest.bytes)) return damaged("it tells no length");
  std::uint64_t sum = 0;
  while (!body.empty()) {
    Chunk chunk;
    if (body.size() < kHexChars + 1 || body[kHexChars] != ' ') return damaged("a line is cut short");
    chunk.hex = body.substr(0, kHexChars);
    TM_CHECK(BlobId::parse(chunk.hex));
    body.remove_prefix(kHexChars + 1);
    if (!take_number(body, chunk.bytes)) return damaged("a chunk tells no length");
    if (chunk.bytes == 0 || chunk.bytes > chunk_bytes_max) return damaged("a chunk has an impossible length");
    sum += chunk.bytes;
    manifest.chunks.push_back(std::move(chunk));
  }
  if (sum != manifest.bytes) return damaged("its lengths do not add up");
  return manifest;
}

}  // namespace tidemill::blobs
