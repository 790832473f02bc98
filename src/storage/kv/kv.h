// Ordered bytes to bytes, on disk and in the page cache at once: LMDB. For what must be read in microseconds and still
// be there after a crash, such as the rows behind online features.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

struct MDB_env;
struct MDB_txn;

namespace tidemill::kv {

constexpr std::size_t kKeyBytesMax = 511;                 // LMDB's own limit
constexpr std::size_t kValueBytesMax = 16 * 1024 * 1024;  // of one value: kTooLarge past it
constexpr std::size_t kEraseEntriesMax = 10'000;          // of one commit of erase_range, so that writers get a turn

struct Entry {
  std::string key;  // 1 to kKeyBytesMax bytes
  std::string value;
};

struct Options {
  // How far the store may grow. Only address space is taken at once; the file grows with its content.
  std::uint64_t map_bytes = std::uint64_t{16} << 30;
  int readers_max = 512;  // read transactions at the same time
};

// All functions may be called from any thread. Keys are ordered bytewise. Errors beyond those named: kExhausted
// "kv.full" when map_bytes or the disk is full, kInternal for a failing disk.
class Kv {
 public:
  // Opens or makes the store in `folder`. One process at a time; the caller locks the folder above it.
  [[nodiscard]] static Result<std::unique_ptr<Kv>> create(const std::filesystem::path& folder, Options options = {});
  // Copies the store of `folder` as it stands at one moment, while another process writes, to the new file `file`: the
  // data.mdb of a folder of its own.
  [[nodiscard]] static Result<void> copy(const std::filesystem::path& folder, const std::filesystem::path& file,
                                         Options options = {});
  ~Kv();
  Kv(const Kv&) = delete;
  Kv& operator=(const Kv&) = delete;

  // Returns a copy of the value, or nothing when the key is not there.
  [[nodiscard]] Result<std::optional<std::string>> get(std::string_view key) const;

  // Writes all entries, or none of them, and returns only after they are synced to disk. A later entry of the same key
  // wins. Callers that wait at the same time share one sync.
  [[nodiscard]] Result<void> put_many(std::span<const Entry> entries);

  // Calls `visit(key, value)` for every entry with begin <= key < end in key order, in one snapshot; an empty `end`
  // means to the last. The views end with the visit. `visit` returns false to end the walk; it must not write.
  using Visit = std::function<Result<bool>(std::string_view key, std::string_view value)>;
  [[nodiscard]] Result<void> scan(std::string_view begin, std::string_view end, const Visit& visit) const;
  // The same for every key that starts with `prefix`.
  [[nodiscard]] Result<void> scan_prefix(std::string_view prefix, const Visit& visit) const;

  // Returns the last key with begin <= key < end ("" = to the last), or nothing when there is none. O(log n).
  [[nodiscard]] Result<std::optional<std::string>> last_key(std::string_view begin, std::string_view end) const;

  // Removes every entry with begin <= key < end, in commits of at most kEraseEntriesMax, and returns how many there
  // were. A crash in between leaves the later ones.
  [[nodiscard]] Result<std::uint64_t> erase_range(std::string_view begin, std::string_view end);

 private:
  struct Waiting {
    std::span<const Entry> entries;
    std::optional<Result<void>> result;
  };

  Kv(MDB_env* env, unsigned int table) : env_(env), table_(table) {}
  [[nodiscard]] Result<void> commit(std::span<Waiting* const> batch);
  [[nodiscard]] Result<std::uint64_t> erase_some(std::string_view begin, std::string_view end);

  MDB_env* const env_;
  const unsigned int table_;

  std::mutex mutex_;
  std::condition_variable committed_;
  std::deque<Waiting*> waiting_;  // guarded by mutex_; each lives in the frame of its put_many
  bool committing_ = false;       // guarded by mutex_; one caller commits for all
};

// Returns the first key that is past every key starting with `prefix`; "" when there is none.
[[nodiscard]] std::string prefix_end(std::string_view prefix);

}  // namespace tidemill::kv
