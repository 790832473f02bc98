#include "storage/kv/kv.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/files.h"

namespace tidemill::kv {
namespace {

std::unexpected<Error> broken(std::string_view action, int code) {
  if (code == MDB_MAP_FULL || code == ENOSPC) {
    return fail(Code::kExhausted, "kv.full", fmt::format("The store is full: {} ({}).", action, mdb_strerror(code)),
                "Free disk space, or raise the store's map_bytes.");
  }
  if (code == MDB_READERS_FULL) {
    return fail(Code::kExhausted, "kv.readers", fmt::format("Too many readers at once: {}.", action), "Retry.");
  }
  return fail(Code::kInternal, "kv.failed", fmt::format("{} failed: {}.", action, mdb_strerror(code)),
              "Check the disk and the server's log.");
}

MDB_val to_val(std::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
std::string_view to_view(const MDB_val& val) { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

// A transaction that is undone unless committed.
class Transaction {
 public:
  static Result<Transaction> begin(MDB_env* env, unsigned int flags) {
    MDB_txn* txn = nullptr;
    if (const int code = mdb_txn_begin(env, nullptr, flags, &txn); code != 0) return broken("begin", code);
    return Transaction(txn);
  }
  Transaction(Transaction&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  [[nodiscard]] MDB_txn* get() const { return txn_; }
  [[nodiscard]] int commit() { return mdb_txn_commit(std::exchange(txn_, nullptr)); }

 private:
  explicit Transaction(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

class Cursor {
 public:
  static Result<Cursor> open(const Transaction& transaction, unsigned int table) {
    MDB_cursor* cursor = nullptr;
    if (const int code = mdb_cursor_open(transaction.get(), table, &cursor); code != 0) return broken("open", code);
    return Cursor(cursor);
  }
  Cursor(Cursor&& other) noexcept : cursor_(std::exchange(other.cursor_, nullptr)) {}
  Cursor& operator=(Cursor&&) = delete;
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  [[nodiscard]] MDB_cursor* get() const { return cursor_; }

 private:
  explicit Cursor(MDB_cursor* cursor) : cursor_(cursor) {}
  MDB_cursor* cursor_;
};

// Moves to the first entry at or after `begin`; LMDB takes no empty key.
int seek(MDB_cursor* cursor, std::string_view begin, MDB_val& key, MDB_val& value) {
  key = to_val(begin);
  return mdb_cursor_get(cursor, &key, &value, begin.empty() ? MDB_FIRST : MDB_SET_RANGE);
}

Result<void> check_entry(const Entry& entry) {
  if (entry.key.empty() || entry.key.size() > kKeyBytesMax) {
    return fail(Code::kInvalidArgument, "kv.bad_key", fmt::format("A key has {} bytes.", entry.key.size()),
                fmt::format("Use 1 to {} bytes.", kKeyBytesMax));
  }
  if (entry.value.size() > kValueBytesMax) {
    return fail(Code::kTooLarge, "kv.value_too_large", fmt::format("A value has {} bytes.", entry.value.size()),
                fmt::format("Keep it within {} bytes.", kValueBytesMax));
  }
  return {};
}

}  // namespace

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') end.pop_back();
  if (!end.empty()) end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  return end;
}

namespace {

using Environment = std::unique_ptr<MDB_env, decltype(&mdb_env_close)>;

Result<Environment> open_environment(const std::filesystem::path& folder, const Options& options, unsigned int flags) {
  MDB_env* env = nullptr;
  if (const int code = mdb_env_create(&env); code != 0) return broken("create", code);
  Environment owner(env, &mdb_env_close);
  mdb_env_set_mapsize(env, options.map_bytes);
  mdb_env_set_maxreaders(env, static_cast<unsigned int>(options.readers_max));
  // NOTLS ties a reader's slot to its transaction, not to its thread: pools of threads come and go.
  if (const int code = mdb_env_open(env, folder.c_str(), MDB_NOTLS | MDB_NORDAHEAD | flags, 0600); code != 0) {
    return broken(fmt::format("open {}", folder.string()), code);
  }
  return owner;
}

}  // namespace

Result<void> Kv::copy(const std::filesystem::path& folder, const std::filesystem::path& file, Options options) {
  const Environment owner = TM_TRY(open_environment(folder, options, MDB_RDONLY));
  const FileDescriptor target(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!target.open()) return fail(errno_error("create", file, errno));
  if (const int code = mdb_env_copyfd(owner.get(), target.get()); code != 0) return broken("copy", code);
  return sync_file(target.get(), file);
}

Result<std::unique_ptr<Kv>> Kv::create(const std::filesystem::path& folder, Options options) {
  TM_CHECK(make_folder(folder));
  Environment owner = TM_TRY(open_environment(folder, options, 0));
  MDB_env* const env = owner.get();
  Transaction transaction = TM_TRY(Transaction::begin(env, 0));
  MDB_dbi table = 0;
  if (const int code = mdb_dbi_open(transaction.get(), nullptr, 0, &table); code != 0) return broken("open", code);
  if (const int code = transaction.commit(); code != 0) return broken("open", code);
  TM_CHECK(sync_folder(folder));
  return std::unique_ptr<Kv>(new Kv(owner.release(), table));
}

Kv::~Kv() { mdb_env_close(env_); }

Result<std::optional<std::string>> Kv::get(std::string_view key) const {
  if (key.empty() || key.size() > kKeyBytesMax) return std::optional<std::string>();
  const Transaction transaction = TM_TRY(Transaction::begin(env_, MDB_RDONLY));
  MDB_val name = to_val(key);
  MDB_val value{};
  const int code = mdb_get(transaction.get(), table_, &name, &value);
  if (code == MDB_NOTFOUND) return std::optional<std::string>();
  if (code != 0) return broken("get", code);
  return std::optional<std::string>(std::string(to_view(value)));
}

Result<void> Kv::put_many(std::span<const Entry> entries) {
  for (const Entry& entry : entries) TM_CHECK(check_entry(entry));
  if (entries.empty()) return {};
  Waiting mine{entries, std::nullopt};
  std::unique_lock lock(mutex_);
  waiting_.push_back(&mine);
  committed_.wait(lock, [&] { return mine.result.has_value() || !committing_; });
  if (mine.result) return *std::move(mine.result);

  committing_ = true;
  const std::vector<Waiting*> batch(waiting_.begin(), waiting_.end());
  waiting_.clear();
  lock.unlock();
  std::vector<Result<void>> results(batch.size(), commit(batch));
  if (!results.front() && batch.size() > 1) {  // one bad apple must not refuse its neighbours
    for (std::size_t i = 0; i < batch.size(); ++i) results[i] = commit(std::span(&batch[i], 1));
  }
  lock.lock();
  for (std::size_t i = 0; i < batch.size(); ++i) batch[i]->result = std::move(results[i]);
  committing_ = false;
  committed_.notify_all();
  return *std::move(mine.result);
}

Result<void> Kv::commit(std::span<Waiting* const> batch) {
  Transaction transaction = TM_TRY(Transaction::begin(env_, 0));
  for (const Waiting* one : batch) {
    for (const Entry& entry : one->entries) {
      MDB_val key = to_val(entry.key);
      MDB_val value = to_val(entry.value);
      if (const int code = mdb_put(transaction.get(), table_, &key, &value, 0); code != 0) return broken("put", code);
    }
  }
  if (const int code = transaction.commit(); code != 0) return broken("commit", code);
  return {};
}

Result<void> Kv::scan(std::string_view begin, std::string_view end, const Visit& visit) const {
  const Transaction transaction = TM_TRY(Transaction::begin(env_, MDB_RDONLY));
  const Cursor cursor = TM_TRY(Cursor::open(transaction, table_));
  MDB_val key{};
  MDB_val value{};
  int code = seek(cursor.get(), begin, key, value);
  for (; code == 0; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    if (!end.empty() && to_view(key) >= end) return {};
    if (!TM_TRY(visit(to_view(key), to_view(value)))) return {};
  }
  if (code != MDB_NOTFOUND) return broken("scan", code);
  return {};
}

Result<void> Kv::scan_prefix(std::string_view prefix, const Visit& visit) const {
  return scan(prefix, prefix_end(prefix), visit);
}

Result<std::optional<std::string>> Kv::last_key(std::string_view begin, std::string_view end) const {
  const Transaction transaction = TM_TRY(Transaction::begin(env_, MDB_RDONLY));
  const Cursor cursor = TM_TRY(Cursor::open(transaction, table_));
  MDB_val key{};
  MDB_val value{};
  int code = end.empty() ? MDB_NOTFOUND : seek(cursor.get(), end, key, value);
  if (code != 0 && code != MDB_NOTFOUND) return broken("seek", code);
  code = mdb_cursor_get(cursor.get(), &key, &value, code == 0 ? MDB_PREV : MDB_LAST);
  if (code == MDB_NOTFOUND || (code == 0 && to_view(key) < begin)) return std::optional<std::string>();
  if (code != 0) return broken("seek", code);
  return std::optional<std::string>(std::string(to_view(key)));
}

Result<std::uint64_t> Kv::erase_range(std::string_view begin, std::string_view end) {
  std::uint64_t erased = 0;
  while (true) {
    const std::uint64_t some = TM_TRY(erase_some(begin, end));
    erased += some;
    if (some < kEraseEntriesMax) return erased;
  }
}

Result<std::uint64_t> Kv::erase_some(std::string_view begin, std::string_view end) {
  Transaction transaction = TM_TRY(Transaction::begin(env_, 0));
  std::uint64_t erased = 0;
  {
    const Cursor cursor = TM_TRY(Cursor::open(transaction, table_));
    MDB_val key{};
    MDB_val value{};
    int code = seek(cursor.get(), begin, key, value);
    // After a deletion the cursor stands on the next entry, which MDB_NEXT then returns.
    for (; code == 0 && erased < kEraseEntriesMax; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
      if (!end.empty() && to_view(key) >= end) break;
      if (const int deleted = mdb_cursor_del(cursor.get(), 0); deleted != 0) return broken("erase", deleted);
      ++erased;
    }
    if (code != 0 && code != MDB_NOTFOUND) return broken("erase", code);
  }
  if (erased == 0) return erased;
  if (const int code = transaction.commit(); code != 0) return broken("commit", code);
  return erased;
}

}  // namespace tidemill::kv
