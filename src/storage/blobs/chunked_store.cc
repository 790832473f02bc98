#include "storage/blobs/chunked_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/files.h"
#include "base/hash.h"
#include "base/ids.h"

namespace tidemill::blobs {
namespace {

constexpr std::uint64_t kManifestBytesMax = std::uint64_t{1} << 30;
// Chunks may have been cut by an earlier release with larger sizes; reading accepts up to this.
constexpr std::uint64_t kChunkBytesMax = 64 << 20;
constexpr std::size_t kWindowChunks = 8;  // how many largest chunks the reading buffer holds

std::unexpected<Error> damaged(const BlobId& blob, std::string_view why) {
  return fail(Code::kInternal, "blobs.damaged", fmt::format("Blob {} cannot be read: {}.", blob.str(), why),
              "Restore the blob store from a backup, or put the same content again.", {{"blob", blob.str()}});
}

std::unexpected<Error> unknown(const BlobId& blob) {
  return fail(Code::kNotFound, "blobs.unknown", fmt::format("There is no blob '{}'.", blob.str()),
              "Put the content first.", {{"blob", blob.str()}});
}

std::string object_name(Kind kind, const std::string& hex) {
  return fmt::format("{}/{}/{}", kind == Kind::chunk ? "chunks" : "blobs", hex.substr(0, 2), hex);
}

// Cuts what a source gives and stores the pieces.
class Cutter {
 public:
  Cutter(Batch& batch, const ChunkSizes& sizes) : batch_(batch), sizes_(sizes) {}

  Result<void> take(std::string_view bytes) {
    whole_.update(bytes);
    const std::string hex = sha256_hex(bytes);
    TM_CHECK(batch_.add(Kind::chunk, hex, bytes));
    manifest_.bytes += bytes.size();
    manifest_.chunks.push_back({hex, bytes.size()});
    return {};
  }
  // Returns how many bytes at the front of `bytes` it took: all at the end of the stream, else it keeps enough for a
  // whole chunk.
  Result<std::size_t> cut(std::string_view bytes, bool at_end) {
    std::size_t taken = 0;
    while (bytes.size() - taken >= sizes_.bytes_max || (at_end && taken < bytes.size())) {
      const std::string_view rest = bytes.substr(taken);
      const std::size_t length = chunk_length(rest, sizes_);
      TM_CHECK(take(rest.substr(0, length)));
      taken += length;
    }
    return taken;
  }
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] BlobId id() { return BlobId::trusted(to_hex(whole_.finish())); }

 private:
  Batch& batch_;
  const ChunkSizes sizes_;
  Sha256 whole_;
  Manifest manifest_;
};

}  // namespace

ChunkedStore::ChunkedStore(std::unique_ptr<Objects> objects, Options options)
    : objects_(std::move(objects)), options_(options) {}

Result<Stored> ChunkedStore::put(const Source& source) {
  const auto batch = TM_TRY(objects_->begin());
  Cutter cutter(*batch, options_.sizes);
  std::string window(kWindowChunks * options_.sizes.bytes_max, '\0');
  std::size_t filled = 0;
  for (bool at_end = false; !at_end;) {
    const std::size_t got = TM_TRY(source(window.data() + filled, window.size() - filled));
    at_end = got == 0;
    filled += got;
    if (cutter.manifest().bytes + filled > options_.blob_bytes_max) {
      return fail(Code::kTooLarge, "blobs.too_large",
                  fmt::format("The content has more than {} bytes.", options_.blob_bytes_max),
                  "Split it, or raise blobs.blob_bytes_max.");
    }
    const std::size_t taken = TM_TRY(cutter.cut(std::string_view(window).substr(0, filled), at_end));
    std::memmove(window.data(), window.data() + taken, filled - taken);
    filled -= taken;
  }
  if (cutter.manifest().chunks.empty()) TM_CHECK(cutter.take({}));
  const std::uint64_t bytes_new = TM_TRY(batch->commit());
  const BlobId id = cutter.id();
  if (cutter.manifest().chunks.size() > 1) {
    const auto manifest_batch = TM_TRY(objects_->begin());
    TM_CHECK(manifest_batch->add(Kind::manifest, id.str(), write_manifest(cutter.manifest())));
    TM_CHECK(manifest_batch->commit());
  }
  return Stored{id, cutter.manifest().bytes, bytes_new};
}

Result<Stored> ChunkedStore::put_file(const std::filesystem::path& path) {
  const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.open()) return fail(errno_error("open", path, errno));
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  return put([&](char* buffer, std::size_t bytes) -> Result<std::size_t> {
    while (true) {
      const ssize_t got = ::read(file.get(), buffer, bytes);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return fail(errno_error("read", path, errno));
    }
  });
}

Result<Stored> ChunkedStore::put_bytes(std::string_view bytes) {
  return put([&](char* buffer, std::size_t bytes_max) -> Result<std::size_t> {
    const std::size_t count = std::min(bytes_max, bytes.size());
    std::memcpy(buffer, bytes.data(), count);
    bytes.remove_prefix(count);
    return count;
  });
}

Result<Manifest> ChunkedStore::manifest(const BlobId& id) const {
  TM_CHECK(BlobId::parse(id.str()));
  if (const auto text = TM_TRY(objects_->get(Kind::manifest, id.str(), kManifestBytesMax))) {
    auto manifest = read_manifest(*text, kChunkBytesMax);
    if (!manifest) return damaged(id, manifest.error().message);
    return manifest;
  }
  const auto bytes = TM_TRY(objects_->size(Kind::chunk, id.str()));
  if (!bytes) return unknown(id);
  return Manifest{*bytes, {{id.str(), *bytes}}};
}

Result<std::string> ChunkedStore::chunk(const BlobId& blob, const Chunk& chunk) const {
  auto bytes = TM_TRY(objects_->get(Kind::chunk, chunk.hex, kChunkBytesMax));
  if (!bytes) return damaged(blob, fmt::format("chunk {} is gone", chunk.hex));
  if (bytes->size() != chunk.bytes || sha256_hex(*bytes) != chunk.hex)
    return damaged(blob, fmt::format("chunk {} has changed", chunk.hex));
  return *std::move(bytes);
}

Result<std::string> ChunkedStore::read(const BlobId& id, std::uint64_t bytes_max) const {
  const Manifest list = TM_TRY(manifest(id));
  if (list.bytes > bytes_max) {
    return fail(Code::kTooLarge, "blobs.too_large",
                fmt::format("Blob {} has {} bytes; {} may be read at once.", id.str(), list.bytes, bytes_max),
                "Read it in ranges, or copy it to a file.");
  }
  std::string bytes;
  bytes.reserve(list.bytes);
  for (const Chunk& one : list.chunks) bytes += TM_TRY(chunk(id, one));
  if (list.chunks.size() > 1 && sha256_hex(bytes) != id.str()) return damaged(id, "its content has another hash");
  return bytes;
}

Result<std::string> ChunkedStore::read_range(const BlobId& id, std::uint64_t offset, std::uint64_t length) const {
  const Manifest list = TM_TRY(manifest(id));
  const std::uint64_t end = offset + std::min(length, list.bytes - std::min(offset, list.bytes));
  std::string bytes;
  std::uint64_t start = 0;  // of the chunk
  for (const Chunk& one : list.chunks) {
    if (start >= end) break;
    const std::uint64_t chunk_end = start + one.bytes;
    if (chunk_end > offset) {
      const std::string whole = TM_TRY(chunk(id, one));
      const std::uint64_t from = std::max(offset, start) - start;
      bytes.append(whole, from, std::min(end, chunk_end) - start - from);
    }
    start = chunk_end;
  }
  return bytes;
}

Result<void> ChunkedStore::copy_to(const BlobId& id, const std::filesystem::path& path) const {
  const Manifest list = TM_TRY(manifest(id));
  std::filesystem::path temporary = path;
  temporary += "." + generate_hex_id() + ".tmp";
  const FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400));
  if (!file.open()) return fail(errno_error("create", temporary, errno));
  const auto finish = [&]() -> Result<void> {
    Sha256 whole;
    for (const Chunk& one : list.chunks) {
      const std::string bytes = TM_TRY(chunk(id, one));
      whole.update(bytes);
      TM_CHECK(write_all(file.get(), bytes, temporary));
    }
    if (to_hex(whole.finish()) != id.str()) return damaged(id, "its content has another hash");
    TM_CHECK(sync_file(file.get(), temporary));
    if (::rename(temporary.c_str(), path.c_str()) != 0) return fail(errno_error("rename to", path, errno));
    return sync_folder(path.has_parent_path() ? path.parent_path() : ".");
  };
  auto done = finish();
  if (!done) ::unlink(temporary.c_str());
  return done;
}

Result<bool> ChunkedStore::has(const BlobId& id) const {
  TM_CHECK(BlobId::parse(id.str()));
  if (TM_TRY(objects_->size(Kind::manifest, id.str()))) return true;
  return TM_TRY(objects_->size(Kind::chunk, id.str())).has_value();
}

Result<std::uint64_t> ChunkedStore::size(const BlobId& id) const { return TM_TRY(manifest(id)).bytes; }

Result<void> ChunkedStore::each_object(
    const std::function<Result<void>(const std::string& name, std::string_view bytes)>& visit) const {
  const auto hand_on = [&](Kind kind, const std::string& hex, std::uint64_t bytes_max) -> Result<void> {
    const auto bytes = TM_TRY(objects_->get(kind, hex, bytes_max));
    const bool good =
        bytes && (kind == Kind::chunk ? sha256_hex(*bytes) == hex : read_manifest(*bytes, kChunkBytesMax).has_value());
    if (!good) return damaged(BlobId::trusted(hex), "its bytes have changed");
    return visit(object_name(kind, hex), *bytes);
  };
  // Manifests are listed first: the chunks of each of them are there by then.
  std::vector<std::string> manifests;
  TM_CHECK(objects_->each(Kind::manifest, [&](const std::string& hex) -> Result<void> {
    manifests.push_back(hex);
    return {};
  }));
  TM_CHECK(
      objects_->each(Kind::chunk, [&](const std::string& hex) { return hand_on(Kind::chunk, hex, kChunkBytesMax); }));
  for (const std::string& hex : manifests) TM_CHECK(hand_on(Kind::manifest, hex, kManifestBytesMax));
  return {};
}

Result<void> ChunkedStore::put_object(std::string_view name, std::string_view bytes) {
  for (const Kind kind : {Kind::chunk, Kind::manifest}) {
    const std::string hex(name.substr(std::min(name.rfind('/') + 1, name.size())));
    if (!BlobId::parse(hex) || object_name(kind, hex) != name) continue;
    const bool good = kind == Kind::chunk ? sha256_hex(bytes) == hex : read_manifest(bytes, kChunkBytesMax).has_value();
    if (!good) break;
    const auto batch = TM_TRY(objects_->begin());
    TM_CHECK(batch->add(kind, hex, bytes));
    TM_CHECK(batch->commit());
    return {};
  }
  return fail(Code::kInvalidArgument, "blobs.bad_object", fmt::format("'{}' is no object of a blob store.", name), "");
}

Result<Health> ChunkedStore::check() const {
  Health health;
  TM_CHECK(objects_->each(Kind::chunk, [&](const std::string& hex) -> Result<void> {
    ++health.chunks;
    const auto bytes = TM_TRY(objects_->get(Kind::chunk, hex, kChunkBytesMax));
    health.bytes += bytes ? bytes->size() : 0;
    if (!bytes || sha256_hex(*bytes) != hex) health.damages.push_back({fmt::format("chunk {} has changed", hex)});
    return {};
  }));
  TM_CHECK(objects_->each(Kind::manifest, [&](const std::string& hex) -> Result<void> {
    ++health.blobs;
    const BlobId id = TM_TRY(BlobId::parse(hex));
    const auto list = manifest(id);
    if (!list) {
      health.damages.push_back({list.error().message});
      return {};
    }
    for (const Chunk& one : list->chunks) {
      const auto bytes = TM_TRY(objects_->size(Kind::chunk, one.hex));
      if (bytes != one.bytes)
        health.damages.push_back({fmt::format("blob {}: chunk {} is missing or cut", hex, one.hex)});
    }
    return {};
  }));
  return health;
}

Result<void> check_chunk_sizes(const ChunkSizes& sizes) {
  if (sizes.bytes_min >= 64 && sizes.bytes_min <= sizes.bytes_wanted && sizes.bytes_wanted <= sizes.bytes_max &&
      sizes.bytes_max <= kChunkBytesMax && (sizes.bytes_wanted & (sizes.bytes_wanted - 1)) == 0) {
    return {};
  }
  return fail(Code::kInvalidArgument, "blobs.bad_sizes",
              "The chunk sizes must rise from at least 64 bytes to at most 64 MiB, the wanted one a power of two.",
              "Leave them as they are.");
}

Result<std::unique_ptr<Store>> LocalStore::create(const std::filesystem::path& root, Options options) {
  TM_CHECK(check_chunk_sizes(options.sizes));
  TM_CHECK(make_folder(root));
  return std::make_unique<ChunkedStore>(TM_TRY(local_objects(root, true)), options);
}

}  // namespace tidemill::blobs
