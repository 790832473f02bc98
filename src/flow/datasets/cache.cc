#include "flow/datasets/cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/files.h"
#include "base/hash.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "flow/datasets/intake.h"

namespace tidemill::datasets {
namespace {

namespace fs = std::filesystem;

// Raised when reading CSV or writing Parquet changes, so that what older releases made is made anew.
constexpr int kMakerVersion = 1;
constexpr std::size_t kHashBufferBytes = 1 << 20;

std::string key_of(const Part& part, const std::vector<ColumnType>& schema) {
  const json::Object content{{"maker", kMakerVersion},
                             {"blob", part.blob},
                             {"format", json::to_json(part.format)},
                             {"encoding", json::to_json(part.encoding)},
                             {"missing", json::to_json(part.missing)},
                             {"schema", json::to_json(schema)}};
  return sha256_hex(json::canonical(content));
}

}  // namespace

Result<std::string> hash_file(const fs::path& file) {
  const FileDescriptor descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!descriptor.open()) return fail(errno_error("open", file, errno));
  Sha256 hash;
  std::string buffer(kHashBufferBytes, '\0');
  while (true) {
    const ssize_t got = ::read(descriptor.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error("read", file, errno));
    if (got == 0) return to_hex(hash.finish());
    hash.update(std::string_view(buffer.data(), static_cast<std::size_t>(got)));
  }
}

Result<std::unique_ptr<Cache>> Cache::create(fs::path root, blobs::Store& blobs, tables::Tables& tables,
                                             const Settings& settings) {
  TM_CHECK(make_folder(root / "parts"));
  TM_CHECK(make_folder(root / "incoming"));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root / "incoming", error)) fs::remove(entry.path(), error);
  return std::unique_ptr<Cache>(new Cache(std::move(root), blobs, tables, settings));
}

fs::path Cache::temporary(std::string_view extension) const {
  return root_ / "incoming" / fmt::format("{}{}", generate_hex_id(), extension);
}

Result<fs::path> Cache::adopt(const fs::path& file, const Part& part, const std::vector<ColumnType>& schema) {
  const std::string key = key_of(part, schema);
  TM_CHECK(adopt_as(file, key));
  return path_of(key);
}

// The hash is written first: a file without its hash is made anew, never trusted.
Result<void> Cache::adopt_as(const fs::path& file, const std::string& key) {
  TM_CHECK(write_file_durably(hash_path_of(key), TM_TRY(hash_file(file))));
  ::chmod(file.c_str(), 0400);
  const fs::path path = path_of(key);
  if (::rename(file.c_str(), path.c_str()) != 0) return fail(errno_error("rename to", path, errno));
  TM_CHECK(sync_folder(path.parent_path()));
  const std::lock_guard lock(mutex_);
  right_.insert(key);
  return {};
}

Result<fs::path> Cache::get(const Part& part, const std::vector<ColumnType>& schema) {
  const std::string key = key_of(part, schema);
  const auto known = [&] {
    const std::lock_guard lock(mutex_);
    return right_.contains(key);
  };
  if (known() && fs::exists(path_of(key))) return path_of(key);
  const std::lock_guard making(making_mutex_);
  if (known() && fs::exists(path_of(key))) return path_of(key);
  if (is_right(key)) {
    const std::lock_guard lock(mutex_);
    right_.insert(key);
    return path_of(key);
  }
  TM_CHECK(make(part, schema, key));
  return path_of(key);
}

bool Cache::is_right(const std::string& key) const {
  const auto recorded = read_file(hash_path_of(key), 64);
  const auto there = recorded ? hash_file(path_of(key)) : std::unexpected(Error{});
  if (recorded && there && *recorded == *there) return true;
  if (there) log::warn("datasets", "a cached part has changed and is made anew", {{"part", key}});
  return false;
}

Result<void> Cache::make(const Part& part, const std::vector<ColumnType>& schema, const std::string& key) {
  const fs::path source = temporary(part.format == Format::csv ? ".csv" : ".parquet");
  const fs::path transcoded = temporary(".csv");
  const fs::path made = temporary(".parquet");
  const auto finish = [&]() -> Result<void> {
    TM_CHECK(blobs_.copy_to(TM_TRY(blobs::BlobId::parse(part.blob)), source));
    const auto file = TM_TRY(as_utf8(source, part.format, part.encoding, transcoded));
    const auto rows = to_parquet(tables_, file, part.format, schema, part.missing, settings_, made);
    if (!rows) {
      Error error = rows.error();
      error.message = fmt::format("Part '{}' does not fit the schema: {}", part.filename, error.message);
      return fail(std::move(error));
    }
    return adopt_as(made, key);
  };
  auto done = finish();
  ::unlink(source.c_str());
  ::unlink(transcoded.c_str());
  if (!done) ::unlink(made.c_str());
  return done;
}

}  // namespace tidemill::datasets
