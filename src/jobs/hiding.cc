#include "jobs/hiding.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "base/files.h"

namespace tidemill::jobs {
namespace {

// Younger than the headers of Debian 12.
constexpr std::uint64_t kTruncate = 1U << 14;     // LANDLOCK_ACCESS_FS_TRUNCATE, version 3
constexpr std::uint64_t kTcp = 3;                 // LANDLOCK_ACCESS_NET_BIND_TCP | _CONNECT_TCP, version 4
constexpr std::uint64_t kScopeSignals = 1U << 1;  // LANDLOCK_SCOPE_SIGNAL, version 6
struct LandlockAttributes {
  std::uint64_t filesystem;
  std::uint64_t network;
  std::uint64_t scoped;
};
constexpr int kLandlockMin = 3;  // an older one lets truncate(2) empty any file
constexpr int kLandlockNetwork = 4;
constexpr int kLandlockScopes = 6;

constexpr std::uint64_t kRead = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kDevices = LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK;
constexpr std::uint64_t kEverything = (kTruncate << 1) - 1;
constexpr std::uint64_t kOfFiles =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;

constexpr const char* kNull = "/dev/null";

bool beneath(const std::string& path, const std::string& folder) {
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

std::optional<std::string> canonical(const std::string& path) {
  std::error_code error;
  auto found = std::filesystem::canonical(path, error);
  if (error) return std::nullopt;
  return found.string();
}

// A mount of its own of what lies at `path`, not yet anywhere.
FileDescriptor clone_of(const char* path) {
  return FileDescriptor(::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
}

int make_read_only(int mount) {
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_RDONLY;
  return ::mount_setattr(mount, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof attributes) == 0 ? 0 : errno;
}

int place(int mount, const char* path) {
  return ::move_mount(mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) == 0 ? 0 : errno;
}

int freeze(const char* path) {
  const FileDescriptor clone = clone_of(path);
  if (!clone.open()) return errno == ENOENT ? 0 : errno;
  const int error = make_read_only(clone.get());
  return error != 0 ? error : place(clone.get(), path);
}

// Makes what a mount at `path` goes over, with its parents beneath `root`.
int make_place(const std::string& root, const std::string& path, bool folder) {
  for (std::size_t slash = root.size(); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    if (slash == root.size()) continue;
    if (::mkdir(path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) return errno;
  }
  if (folder) return ::mkdir(path.c_str(), 0755) == 0 || errno == EEXIST ? 0 : errno;
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  return file.open() ? 0 : errno;
}

// Without them an executed program of root gets none back, and cannot undo a mount or open what is not its own.
int drop_capabilities() {
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned long number = 0; ::prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; ++number) {
    // Whoever is not root may lack the right to do it, and gets nothing by exec anyway: there are no new privileges.
    if (::prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0 && ::geteuid() == 0) return errno;
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  return ::syscall(SYS_capset, &header, none.data()) == 0 ? 0 : errno;
}

// Allows `rights` at and beneath `path`, as far as they fit what it is. A failure leaves it forbidden.
void allow(int ruleset, const std::string& path, std::uint64_t rights) {
  const FileDescriptor file(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat status {};
  if (!file.open() || ::fstat(file.get(), &status) != 0) return;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = S_ISDIR(status.st_mode) ? rights : rights & kOfFiles;
  rule.parent_fd = file.get();
  ::syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0U);
}

// Files that root may open without any capability, and that reach everything: disks, and what asks the kernel or the
// init system to act.
std::vector<std::string> dangers_of_root() {
  std::vector<std::string> found;
  for (const char* path : {"/proc/sysrq-trigger", "/run/systemd/private"}) {
    if (::access(path, F_OK) == 0) found.emplace_back(path);
  }
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/dev", error)) {
    struct stat status {};
    if (::lstat(entry.path().c_str(), &status) != 0 || S_ISDIR(status.st_mode)) continue;
    const std::string name = entry.path().filename();
    const bool raw = S_ISCHR(status.st_mode) && (name.starts_with("sg") || name.starts_with("ng") ||
                                                 name.starts_with("nvme") || name == "mem" || name == "port");
    if (S_ISBLK(status.st_mode) || raw) found.push_back(entry.path());
  }
  return found;
}

}  // namespace

Result<Hiding> Hiding::plan(const Sandbox& sandbox, const std::string& work_folder) {
  Hiding hiding;
  hiding.way_ = sandbox.way;
  hiding.network_ = sandbox.network;
  if (sandbox.way == SandboxWay::none) return hiding;
  hiding.root_ = ::geteuid() == 0;
  if (hiding.root_) hiding.dangers_ = dangers_of_root();

  std::vector<Kept> kept;
  if (auto path = canonical(work_folder)) kept.push_back({*path, true, true});
  for (const std::string& readable : sandbox.readable) {
    if (auto path = canonical(readable)) kept.push_back({*path, false, std::filesystem::is_directory(*path)});
  }
  std::ranges::sort(kept, {}, &Kept::path);  // so that a folder is placed before what lies in it
  std::vector<std::string> folders;
  for (const std::string& hidden : sandbox.hidden) {
    if (auto path = canonical(hidden)) folders.push_back(*path);
  }
  std::ranges::sort(folders);
  for (const std::string& folder : folders) {
    if (hiding.is_hidden(folder)) continue;
    Hidden hidden{folder, {}};
    for (const Kept& one : kept) {
      if (one.path == folder) {
        return fail(Code::kInvalidArgument, "jobs.sandbox_shows_all",
                    "'" + folder + "' cannot be hidden and shown at once.", "Show a folder beneath it.");
      }
      const bool covered = std::ranges::any_of(hidden.kept, [&](const Kept& other) {
        return (other.writable || !one.writable) && (one.path == other.path || beneath(one.path, other.path));
      });
      if (beneath(one.path, folder) && !covered) hidden.kept.push_back(one);
    }
    hiding.hidden_.push_back(std::move(hidden));
  }
  return hiding;
}

bool Hiding::is_hidden(const std::string& path) const {
  return std::ranges::any_of(hidden_,
                             [&](const Hidden& one) { return path == one.folder || beneath(path, one.folder); }) ||
         std::ranges::find(dangers_, path) != dangers_.end();
}

bool Hiding::leads_to_hidden(const std::string& folder) const {
  return std::ranges::any_of(hidden_, [&](const Hidden& one) { return beneath(one.folder, folder); }) ||
         std::ranges::any_of(dangers_, [&](const std::string& one) { return beneath(one, folder); });
}

int Hiding::cover() const {
  if (way_ != SandboxWay::mounts) return 0;
  for (const Hidden& hidden : hidden_) {
    if (const int error = cover_folder(hidden); error != 0) return error;
  }
  return root_ ? protect_machine() : 0;
}

int Hiding::cover_folder(const Hidden& hidden) const {
  std::vector<FileDescriptor> clones;
  for (const Kept& kept : hidden.kept) {
    FileDescriptor clone = clone_of(kept.path.c_str());
    if (!clone.open()) return errno;
    if (!kept.writable) {
      if (const int error = make_read_only(clone.get()); error != 0) return error;
    }
    clones.push_back(std::move(clone));
  }
  constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount("tmpfs", hidden.folder.c_str(), "tmpfs", kPlain, "mode=0755,size=64k") != 0) return errno;
  for (std::size_t i = 0; i < clones.size(); ++i) {
    const Kept& kept = hidden.kept[i];
    if (const int error = make_place(hidden.folder, kept.path, kept.folder); error != 0) return error;
    if (const int error = place(clones[i].get(), kept.path.c_str()); error != 0) return error;
  }
  const unsigned long read_only = MS_REMOUNT | MS_BIND | MS_RDONLY | kPlain;
  return ::mount(nullptr, hidden.folder.c_str(), nullptr, read_only, nullptr) == 0 ? 0 : errno;
}

// Root without capabilities still owns the files by which the kernel is told what to do.
int Hiding::protect_machine() const {
  for (const std::string& danger : dangers_) {
    if (::mount(kNull, danger.c_str(), nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) return errno;
  }
  if (const int error = freeze("/proc/sys"); error != 0) return error;
  mount_attr read_only{};
  read_only.attr_set = MOUNT_ATTR_RDONLY;
  const int done = ::mount_setattr(AT_FDCWD, "/sys", AT_RECURSIVE, &read_only, sizeof read_only);
  return done == 0 || errno == ENOENT || errno == EINVAL ? 0 : errno;  // EINVAL: nothing is mounted there
}

int Hiding::shut() const {
  if (way_ == SandboxWay::none) return 0;
  if (way_ == SandboxWay::landlock) {
    if (const int error = restrict_by_landlock(); error != 0) return error;
  }
  return drop_capabilities();
}

int Hiding::restrict_by_landlock() const {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, std::size_t{0}, LANDLOCK_CREATE_RULESET_VERSION);
  if (version < 0) return errno;
  if (version < kLandlockMin) return ENOSYS;
  LandlockAttributes attributes{kEverything, 0, 0};
  if (!network_ && version >= kLandlockNetwork) attributes.network = kTcp;
  if (version >= kLandlockScopes) attributes.scoped = kScopeSignals;
  const FileDescriptor ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0U)));
  if (!ruleset.open()) return errno;
  allow_beneath(ruleset.get(), "/");
  for (const Hidden& hidden : hidden_) {
    for (const Kept& kept : hidden.kept) {
      allow(ruleset.get(), kept.path, kept.writable ? kEverything & ~kDevices : kRead);
    }
  }
  return ::syscall(SYS_landlock_restrict_self, ruleset.get(), 0U) == 0 ? 0 : errno;
}

// A rule holds for all that lies beneath, and none can take anything back: so everything is allowed but what is hidden,
// which needs the entries of the folders above it, one by one. Those folders themselves can then not be listed.
void Hiding::allow_beneath(int ruleset, const std::string& folder) const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string path = entry.path();
    if (is_hidden(path)) continue;
    if (root_ && (path == "/proc" || path == "/sys")) {
      allow(ruleset, path, kRead);  // by writing there, root could have the kernel run what it likes
    } else if (leads_to_hidden(path)) {
      allow_beneath(ruleset, path);
    } else {
      allow(ruleset, path, kEverything & ~kDevices);
    }
  }
}

}  // namespace tidemill::jobs
