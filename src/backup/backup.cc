#include "backup/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/describe.hpp>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
#include <utility>

#include "backup/container.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "events/verify.h"
#include "storage/kv/kv.h"
#include "storage/sql/offline.h"

namespace tidemill::backup {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDatabase = "tidemill.db";
constexpr const char* kOnline = "online";
constexpr const char* kSums = "SHA256SUMS";
constexpr const char* kSeal = "backup.json";
constexpr int kFormat = 1;
constexpr std::uint64_t kListBytesMax = std::uint64_t{4} << 30;
constexpr std::size_t kBufferBytes = 1 << 20;

// What is not copied as it lies there: what can be made anew, what is copied in its own way, and locks.
constexpr std::array<std::string_view, 7> kApart{"lock",  "cache",          "uploads", "online",
                                                 "blobs", "pipelines/work", kDatabase};

bool apart(std::string_view name) {
  return name == "tidemill.db-wal" || name == "tidemill.db-shm" || std::ranges::find(kApart, name) != kApart.end();
}

// The content of backup.json.
struct Seal {
  int format = kFormat;
  std::int64_t made_at_ms = 0;
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  std::int64_t events = 0;
  std::string head_hash;
  std::string sums_sha256;
};
BOOST_DESCRIBE_STRUCT(Seal, (), (format, made_at_ms, files, bytes, events, head_hash, sums_sha256))

Summary summary_of(const Seal& seal) { return {seal.files, seal.bytes, seal.events, seal.head_hash, seal.made_at_ms}; }

std::unexpected<Error> damaged(const fs::path& backup, std::string_view why) {
  return fail(Code::kInternal, "backup.damaged", fmt::format("The backup '{}' is damaged: {}.", backup.string(), why),
              "Use another backup.");
}

std::unexpected<Error> no_server(const fs::path& data) {
  return fail(Code::kNotFound, "backup.no_server", fmt::format("No server has worked in '{}'.", data.string()),
              "Name the folder that --data of the server names.");
}

// Writes entries and keeps their hashes.
class Copier {
 public:
  explicit Copier(Writer& writer) : writer_(writer) {}

  Result<void> add(const std::string& name, std::uint64_t bytes, const Read& read) {
    Sha256 hash;
    TM_CHECK(writer_.add(name, bytes, [&](char* buffer, std::size_t wanted) -> Result<std::size_t> {
      std::size_t got = TM_TRY(read(buffer, wanted));
      if (got == 0) std::memset(buffer, 0, got = wanted);  // the file was cut while it was copied
      hash.update(std::string_view(buffer, got));
      return got;
    }));
    sums_ += fmt::format("{}  {}\n", to_hex(hash.finish()), name);
    seal_.bytes += bytes;
    ++seal_.files;
    return {};
  }

  // A file that is gone by now is left out.
  Result<void> add_file(const std::string& name, const fs::path& path) {
    if (!names_.insert(name).second) return {};
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file.open()) return errno == ENOENT ? Result<void>() : fail(errno_error("open", path, errno));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return fail(errno_error("look at", path, errno));
    return add(name, static_cast<std::uint64_t>(status.st_size),
               [&](char* buffer, std::size_t bytes) -> Result<std::size_t> {
                 const ssize_t got = ::read(file.get(), buffer, bytes);
                 if (got < 0) return fail(errno_error("read", path, errno));
                 return static_cast<std::size_t>(got);
               });
  }

  // Adds the files of the folder that were not added yet.
  Result<void> add_folder(const fs::path& root) {
    std::error_code error;
    for (fs::recursive_directory_iterator at(root, error), end; !error && at != end;) {
      const std::string name = fs::relative(at->path(), root).string();
      if (apart(name)) {
        at.disable_recursion_pending();
      } else if (at->is_regular_file(error) && !at->is_symlink()) {
        TM_CHECK(add_file(name, at->path()));
      }
      at.increment(error);
      if (error == std::errc::no_such_file_or_directory) error.clear();  // removed while it was walked
    }
    if (error) return fail(errno_error("list", root, error.value()));
    return {};
  }

  Result<Summary> finish(std::int64_t made_at_ms, const events::Verification& log) {
    seal_.made_at_ms = made_at_ms;
    seal_.events = log.events;
    seal_.head_hash = log.head_hash;
    seal_.sums_sha256 = sha256_hex(sums_);
    TM_CHECK(writer_.add(kSums, sums_.size(), read_of(sums_)));
    TM_CHECK(writer_.finish(kSeal, json::encode(seal_)));
    return summary_of(seal_);
  }

 private:
  Writer& writer_;
  std::string sums_;
  std::set<std::string> names_;
  Seal seal_;
};

// Returns what is said about the log; kInternal when the database or the chain is damaged.
Result<events::Verification> verify_database(const fs::path& file) {
  events::Verification log;
  TM_CHECK(sql::read_file(file, [&](sql::Tx& tx) -> Result<void> {
    TM_CHECK(sql::check_integrity(tx));
    log = TM_TRY(events::verify(tx));
    return {};
  }));
  if (!log.ok) return fail(Code::kInternal, "backup.broken_chain", log.message, "Restore an earlier backup.");
  return log;
}

// What a walk through a backup found.
class Verifier {
 public:
  explicit Verifier(fs::path backup) : backup_(std::move(backup)) {}

  // Reads the entry to its end, handing its bytes to `take`.
  Result<void> entry(const std::string& name, const Read& read,
                     const std::function<Result<void>(std::string_view)>& take) {
    Sha256 hash;
    std::string* const text = name == kSums ? &sums_ : name == kSeal ? &seal_ : nullptr;
    while (true) {
      const std::size_t got = TM_TRY(read(buffer_.data(), buffer_.size()));
      if (got == 0) break;
      const std::string_view bytes(buffer_.data(), got);
      hash.update(bytes);
      if (text != nullptr && text->size() + got > kListBytesMax) return damaged(backup_, name + " is too long");
      if (text != nullptr) text->append(bytes);
      TM_CHECK(take(bytes));
    }
    if (text == nullptr && !found_.emplace(name, to_hex(hash.finish())).second) {
      return damaged(backup_, fmt::format("'{}' is in it twice", name));
    }
    return {};
  }

  // Compares what was read with what the backup says of itself.
  Result<Summary> verdict() {
    if (seal_.empty()) {
      return fail(Code::kFailedPrecondition, "backup.unfinished",
                  fmt::format("The backup '{}' was not finished: it has no {}.", backup_.string(), kSeal),
                  "Use another backup, and remove this one.");
    }
    const auto seal = json::decode<Seal>(seal_);
    if (!seal) return damaged(backup_, fmt::format("{} cannot be read", kSeal));
    if (seal->format != kFormat) {
      return fail(
          Code::kFailedPrecondition, "backup.newer",
          fmt::format("The backup '{}' has format {}; this version reads {}.", backup_.string(), seal->format, kFormat),
          "Use the version that made it.");
    }
    if (sha256_hex(sums_) != seal->sums_sha256) return damaged(backup_, fmt::format("{} has changed", kSums));
    for (std::string_view rest = sums_; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size() - 1) + 1;
      const std::string name(rest.substr(66, end - 67));
      const auto found = found_.find(name);
      if (found == found_.end()) return damaged(backup_, fmt::format("'{}' is missing", name));
      if (found->second != rest.substr(0, 64)) return damaged(backup_, fmt::format("'{}' has changed", name));
      found_.erase(found);
      rest.remove_prefix(end);
    }
    if (!found_.empty()) return damaged(backup_, fmt::format("'{}' does not belong to it", found_.begin()->first));
    return summary_of(*seal);
  }

 private:
  const fs::path backup_;
  std::string buffer_ = std::string(kBufferBytes, '\0');
  std::string sums_;
  std::string seal_;
  std::map<std::string, std::string> found_;  // hash by name
};

// Writes entries of a backup to where a server will look for them.
class Restorer {
 public:
  Restorer(fs::path root, blobs::Inventory* bucket) : root_(std::move(root)), bucket_(bucket) {}

  Result<void> entry(Verifier& verifier, const std::string& name, const Read& read) {
    const auto nowhere = [](std::string_view) -> Result<void> { return {}; };
    if (name == kSums || name == kSeal) return verifier.entry(name, read, nowhere);
    constexpr std::string_view kBlobs = "blobs/";
    if (bucket_ != nullptr && name.starts_with(kBlobs)) {
      std::string object;
      TM_CHECK(verifier.entry(name, read, [&](std::string_view bytes) -> Result<void> {
        object += bytes;
        return {};
      }));
      return bucket_->put(name.substr(kBlobs.size()), object);
    }
    const fs::path path = TM_TRY(path_beneath(root_, name));
    TM_CHECK(make_folder(path.parent_path()));
    const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file.open()) return fail(errno_error("create", path, errno));
    return verifier.entry(name, read, [&](std::string_view bytes) -> Result<void> {
      while (!bytes.empty()) {
        const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return fail(errno_error("write", path, errno));
        bytes.remove_prefix(static_cast<std::size_t>(written));
      }
      return {};
    });
  }

  Result<void> sync() const {
    const FileDescriptor folder(::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.open() || ::syncfs(folder.get()) != 0) return fail(errno_error("sync", root_, errno));
    return {};
  }

 private:
  const fs::path root_;
  blobs::Inventory* const bucket_;
};

Result<Summary> restore_into(const fs::path& backup, const fs::path& root, blobs::Inventory* bucket) {
  Verifier verifier(backup);
  Restorer restorer(root, bucket);
  TM_CHECK(read_container(
      backup, [&](const std::string& name, const Read& read) { return restorer.entry(verifier, name, read); }));
  Summary summary = TM_TRY(verifier.verdict());
  TM_CHECK(make_folder(root / "blobs"));
  const auto local = TM_TRY(blobs::Inventory::of_folder(root / "blobs"));
  const Findings found = TM_TRY(check(root, bucket == nullptr ? *local : *bucket));
  if (!found.damages.empty()) return damaged(backup, found.damages.front().what);
  if (found.head_hash != summary.head_hash) return damaged(backup, "its events are not those that it names");
  TM_CHECK(restorer.sync());
  return summary;
}

}  // namespace

Result<Summary> make(const fs::path& data, const blobs::Inventory& blobs, const fs::path& target, const Clock& clock) {
  const std::int64_t now_ms = clock.now_ms();
  if (!fs::exists(data / kDatabase)) return no_server(data);
  TM_CHECK(make_folder(data / "cache"));
  const TemporaryFolder copies = TM_TRY(TemporaryFolder::create(data / "cache"));
  const auto writer = TM_TRY(create_container(target));
  Copier copier(*writer);
  TM_CHECK(copier.add_folder(data));
  if (fs::exists(data / kOnline / "data.mdb")) {
    TM_CHECK(kv::Kv::copy(data / kOnline, copies.path() / "data.mdb"));
    TM_CHECK(copier.add_file("online/data.mdb", copies.path() / "data.mdb"));
  }
  TM_CHECK(sql::copy_file(data / kDatabase, copies.path() / kDatabase));
  const auto log = TM_TRY(verify_database(copies.path() / kDatabase));
  TM_CHECK(copier.add_file(kDatabase, copies.path() / kDatabase));
  TM_CHECK(copier.add_folder(data));
  TM_CHECK(blobs.each([&](const std::string& name, std::string_view bytes) {
    return copier.add("blobs/" + name, bytes.size(), read_of(bytes));
  }));
  return copier.finish(now_ms, log);
}

Result<Summary> verify(const fs::path& backup) {
  Verifier verifier(backup);
  TM_CHECK(read_container(backup, [&](const std::string& name, const Read& read) {
    return verifier.entry(name, read, [](std::string_view) -> Result<void> { return {}; });
  }));
  return verifier.verdict();
}

Result<Summary> restore(const fs::path& backup, const fs::path& data, blobs::Inventory* bucket) {
  std::error_code error;
  if (fs::exists(data, error) && !(fs::is_directory(data, error) && fs::is_empty(data, error))) {
    return fail(Code::kAlreadyExists, "backup.exists", fmt::format("'{}' is there already.", data.string()),
                "Give a folder that is not there yet; nothing is written over.");
  }
  const fs::path staging = data.string() + ".restoring";
  fs::remove_all(staging, error);  // of a restore that was killed
  TM_CHECK(make_folder(staging));
  auto summary = restore_into(backup, staging, bucket);
  if (summary && ::rename(staging.c_str(), data.c_str()) != 0) summary = fail(errno_error("rename to", data, errno));
  if (!summary) {
    fs::remove_all(staging, error);
    return summary;
  }
  TM_CHECK(sync_folder(data.has_parent_path() ? data.parent_path() : "."));
  return summary;
}

Result<Findings> check(const fs::path& data, const blobs::Inventory& blobs) {
  Findings findings;
  TM_CHECK(sql::read_file(data / kDatabase, [&](sql::Tx& tx) -> Result<void> {
    if (const auto sound = sql::check_integrity(tx); !sound) findings.damages.push_back({sound.error().message});
    const auto log = events::verify(tx);
    if (log) {
      findings.events = log->events;
      findings.head_hash = log->head_hash;
    }
    if (!log || !log->ok) findings.damages.push_back({"events: " + (log ? log->message : log.error().message)});
    return {};
  }));
  const blobs::Health health = TM_TRY(blobs.check());
  findings.chunks = health.chunks;
  findings.bytes = health.bytes;
  for (const auto& damage : health.damages) findings.damages.push_back({"blobs: " + damage.what});
  return findings;
}

}  // namespace tidemill::backup
