#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <vector>

#include "base/files.h"
#include "base/ids.h"
#include "storage/blobs/objects.h"

namespace tidemill::blobs {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kShelves = 256;  // folders by the first two hex digits
constexpr std::size_t kSyncEachMax =
    8;  // files of a batch that are synced one by one; past it the file system is, once

const char* folder_of(Kind kind) { return kind == Kind::chunk ? "chunks" : "blobs"; }

unsigned shelf_of(const std::string& hex) {
  const auto nibble = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  return (nibble(hex[0]) * 16 + nibble(hex[1])) & 0xFF;
}

Result<void> sync_file_system(const fs::path& root) {
  const FileDescriptor folder(::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.open()) return fail(errno_error("open", root, errno));
  if (::syncfs(folder.get()) == 0) return {};
  Error error = errno_error("sync", root, errno);
  error.reason = "storage.sync_failed";
  return fail(std::move(error));
}

Result<void> write_all(int descriptor, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail(errno_error("write", path, errno));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

class LocalObjects final : public Objects {
 public:
  explicit LocalObjects(fs::path root) : root_(std::move(root)) {}

  Result<void> prepare();
  Result<std::unique_ptr<Batch>> begin() override;
  Result<std::optional<std::string>> get(Kind kind, const std::string& hex, std::uint64_t bytes_max) const override;
  Result<std::optional<std::uint64_t>> size(Kind kind, const std::string& hex) const override;
  Result<void> each(Kind kind, const std::function<Result<void>(const std::string& hex)>& visit) const override;

  [[nodiscard]] const fs::path& root() const { return root_; }
  [[nodiscard]] fs::path shelf_path(Kind kind, unsigned shelf) const {
    return root_ / folder_of(kind) / fmt::format("{:02x}", shelf);
  }
  [[nodiscard]] fs::path path(Kind kind, const std::string& hex) const { return shelf_path(kind, shelf_of(hex)) / hex; }
  // How many batches have renamed files into the shelf and not yet synced it: a name seen there may still be lost.
  [[nodiscard]] std::atomic<int>& unsynced(Kind kind, unsigned shelf) { return unsynced_[index(kind, shelf)]; }
  // Whether this process has synced the shelf: before that, names that a killed process gave may not be on disk.
  [[nodiscard]] std::atomic<bool>& known_synced(Kind kind, unsigned shelf) { return known_synced_[index(kind, shelf)]; }

 private:
  static std::size_t index(Kind kind, unsigned shelf) { return (kind == Kind::chunk ? 0 : kShelves) + shelf; }

  const fs::path root_;
  std::array<std::atomic<int>, 2 * kShelves> unsynced_{};
  std::array<std::atomic<bool>, 2 * kShelves> known_synced_{};
};

class LocalBatch final : public Batch {
 public:
  explicit LocalBatch(LocalObjects& objects) : objects_(objects) {}
  LocalBatch(const LocalBatch&) = delete;
  LocalBatch& operator=(const LocalBatch&) = delete;
  ~LocalBatch() override;

  Result<void> add(Kind kind, const std::string& hex, std::string_view bytes) override;
  Result<std::uint64_t> commit() override;

 private:
  struct Written {
    Kind kind;
    std::string hex;
    fs::path temporary;
  };
  using Shelf = std::pair<Kind, unsigned>;

  Result<void> sync_contents();
  Result<void> name_all(std::set<Shelf>& renamed_into);

  LocalObjects& objects_;
  std::vector<Written> written_;
  std::set<std::pair<Kind, std::string>> added_;
  std::set<Shelf> reused_unsynced_;
  std::uint64_t bytes_new_ = 0;
};

LocalBatch::~LocalBatch() {
  for (const auto& file : written_) ::unlink(file.temporary.c_str());
}

Result<void> LocalBatch::add(Kind kind, const std::string& hex, std::string_view bytes) {
  if (added_.contains({kind, hex})) return {};
  const auto there = TM_TRY(objects_.size(kind, hex));
  if (there == bytes.size() && TM_TRY(objects_.get(kind, hex, bytes.size())) == bytes) {
    // Another batch may have named it and not be done syncing: then this one must sync the folder, too.
    const unsigned shelf = shelf_of(hex);
    if (objects_.unsynced(kind, shelf) > 0 || !objects_.known_synced(kind, shelf))
      reused_unsynced_.emplace(kind, shelf);
    return {};
  }
  const fs::path temporary = objects_.root() / "incoming" / generate_hex_id();
  const FileDescriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400));
  if (!file.open()) return fail(errno_error("create", temporary, errno));
  written_.push_back({kind, hex, temporary});
  TM_CHECK(write_all(file.get(), bytes, temporary));
  added_.emplace(kind, hex);
  bytes_new_ += bytes.size();
  return {};
}

Result<void> LocalBatch::sync_contents() {
  if (written_.size() > kSyncEachMax) return sync_file_system(objects_.root());
  for (const auto& written : written_) {
    const FileDescriptor file(::open(written.temporary.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.open()) return fail(errno_error("open", written.temporary, errno));
    TM_CHECK(sync_file(file.get(), written.temporary));
  }
  return {};
}

// Makes the shelf where there is none, durably.
Result<void> make_shelf(const fs::path& shelf) {
  if (::mkdir(shelf.c_str(), 0700) == 0) return sync_folder(shelf.parent_path());
  if (errno == EEXIST) return {};
  return fail(errno_error("make the folder", shelf, errno));
}

Result<void> LocalBatch::name_all(std::set<Shelf>& renamed_into) {
  while (!written_.empty()) {
    const Written& file = written_.back();
    const Shelf shelf{file.kind, shelf_of(file.hex)};
    if (renamed_into.insert(shelf).second) ++objects_.unsynced(shelf.first, shelf.second);
    const fs::path path = objects_.path(file.kind, file.hex);
    if (!objects_.known_synced(shelf.first, shelf.second)) TM_CHECK(make_shelf(path.parent_path()));
    if (::rename(file.temporary.c_str(), path.c_str()) != 0) return fail(errno_error("rename to", path, errno));
    written_.pop_back();
  }
  return {};
}

Result<std::uint64_t> LocalBatch::commit() {
  TM_CHECK(sync_contents());
  std::set<Shelf> renamed_into;
  auto done = name_all(renamed_into);
  std::set<Shelf> shelves = renamed_into;
  shelves.insert(reused_unsynced_.begin(), reused_unsynced_.end());
  if (done && shelves.size() > kSyncEachMax) {
    done = sync_file_system(objects_.root());
  } else {
    for (auto shelf = shelves.begin(); done && shelf != shelves.end(); ++shelf) {
      done = sync_folder(objects_.shelf_path(shelf->first, shelf->second));
    }
  }
  // After a failure the names stay suspect: the counts are left up, so later batches sync these folders themselves.
  if (!done) return fail(std::move(done).error());
  for (const auto& [kind, shelf] : renamed_into) --objects_.unsynced(kind, shelf);
  for (const auto& [kind, shelf] : shelves) objects_.known_synced(kind, shelf) = true;
  return bytes_new_;
}

Result<void> LocalObjects::prepare() {
  TM_CHECK(make_folder(root_ / "incoming"));
  for (const Kind kind : {Kind::chunk, Kind::manifest}) TM_CHECK(make_folder(root_ / folder_of(kind)));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ / "incoming", error)) ::unlink(entry.path().c_str());
  TM_CHECK(sync_folder(root_));
  return sync_folder(root_.has_parent_path() ? root_.parent_path() : ".");
}

Result<std::unique_ptr<Batch>> LocalObjects::begin() { return std::make_unique<LocalBatch>(*this); }

Result<std::optional<std::string>> LocalObjects::get(Kind kind, const std::string& hex, std::uint64_t bytes_max) const {
  auto bytes = read_file(path(kind, hex), bytes_max);
  if (bytes) return std::optional(*std::move(bytes));
  if (bytes.error().code == Code::kNotFound) return std::optional<std::string>();
  return std::unexpected(std::move(bytes).error());
}

Result<std::optional<std::uint64_t>> LocalObjects::size(Kind kind, const std::string& hex) const {
  struct stat status {};
  const fs::path file = path(kind, hex);
  if (::stat(file.c_str(), &status) == 0) return static_cast<std::uint64_t>(status.st_size);
  if (errno == ENOENT) return std::optional<std::uint64_t>();
  return fail(errno_error("look at", file, errno));
}

Result<void> LocalObjects::each(Kind kind, const std::function<Result<void>(const std::string& hex)>& visit) const {
  for (unsigned shelf = 0; shelf < kShelves; ++shelf) {
    std::error_code error;
    if (!fs::exists(shelf_path(kind, shelf))) continue;
    for (fs::directory_iterator entry(shelf_path(kind, shelf), error), end; !error && entry != end;
         entry.increment(error)) {
      TM_CHECK(visit(entry->path().filename().string()));
    }
    if (error) return fail(errno_error("list", shelf_path(kind, shelf), error.value()));
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Objects>> local_objects(const fs::path& root, bool owned) {
  auto objects = std::make_unique<LocalObjects>(root);
  if (owned) TM_CHECK(objects->prepare());
  return std::unique_ptr<Objects>(std::move(objects));
}

}  // namespace tidemill::blobs
