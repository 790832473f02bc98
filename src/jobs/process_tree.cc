#include "jobs/process_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <memory>
#include <set>
#include <string>

#include "base/files.h"

namespace tidemill::jobs {
namespace {

constexpr std::uint64_t kProcFileBytesMax = 4 * 1024 * 1024;
constexpr int kSweepsMax = 100;

// Reads a file of /proc, whose size is unknown beforehand; "" when the process is gone.
std::string read_proc(const std::string& path) { return read_file(path, kProcFileBytesMax).value_or(""); }

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// Calls visit(pid) for every process, or every thread of one.
template <class Visit>
void each_number_in(const std::string& path, Visit&& visit) {
  const std::unique_ptr<DIR, CloseFolder> folder(::opendir(path.c_str()));
  if (folder == nullptr) return;
  while (const dirent* entry = ::readdir(folder.get())) {
    const std::string_view name = entry->d_name;
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error == std::errc{} && end == name.data() + name.size()) visit(pid);
  }
}

std::vector<pid_t> numbers_of(std::string_view text) {
  std::vector<pid_t> numbers;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    pid_t pid = 0;
    if (std::from_chars(text.data(), text.data() + end, pid).ec == std::errc{}) numbers.push_back(pid);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return numbers;
}

// A child belongs to the thread that forked it, so every thread's list counts.
std::vector<pid_t> children(pid_t parent) {
  std::vector<pid_t> all;
  const std::string tasks = "/proc/" + std::to_string(parent) + "/task";
  each_number_in(tasks, [&](pid_t thread) {
    for (const pid_t child : numbers_of(read_proc(tasks + "/" + std::to_string(thread) + "/children")))
      all.push_back(child);
  });
  return all;
}

std::int64_t resident_bytes(pid_t pid) {
  const auto fields = numbers_of(read_proc("/proc/" + std::to_string(pid) + "/statm"));
  return fields.size() < 2 ? 0 : static_cast<std::int64_t>(fields[1]) * ::sysconf(_SC_PAGESIZE);
}

std::int64_t proportional_bytes(pid_t pid) {
  const std::string text = read_proc("/proc/" + std::to_string(pid) + "/smaps_rollup");
  const std::size_t at = text.find("\nPss:");
  if (at == std::string::npos) return resident_bytes(pid);
  const std::size_t digits = text.find_first_not_of(' ', at + 5);
  std::int64_t kib = 0;
  if (digits != std::string::npos) std::from_chars(text.data() + digits, text.data() + text.size(), kib);
  return kib * 1024;
}

bool carries(pid_t pid, std::string_view entry) {
  const std::string environment = read_proc("/proc/" + std::to_string(pid) + "/environ");
  std::string_view rest = environment;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\0'), rest.size());
    if (rest.substr(0, end) == entry) return true;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return false;
}

}  // namespace

std::vector<pid_t> descendants(pid_t root, std::size_t count_max) {
  std::vector<pid_t> all = children(root);
  std::set<pid_t> seen(all.begin(),
                       all.end());  // ids are reused, so a list read while it changes might lead in a circle
  for (std::size_t i = 0; i < all.size() && all.size() < count_max; ++i) {
    for (const pid_t child : children(all[i])) {
      if (seen.insert(child).second) all.push_back(child);
    }
  }
  return all;
}

std::int64_t memory_bytes(const std::vector<pid_t>& pids, std::int64_t limit_bytes) {
  std::int64_t sum = 0;
  for (const pid_t pid : pids) sum += resident_bytes(pid);
  if (limit_bytes <= 0 || sum <= limit_bytes || pids.size() < 2) return sum;
  sum = 0;
  for (const pid_t pid : pids) sum += proportional_bytes(pid);
  return sum;
}

int kill_marked(std::string_view mark) {
  const std::string entry = "TIDEMILL_MARK=" + std::string(mark);
  std::set<pid_t> killed;
  for (int sweep = 0; sweep < kSweepsMax; ++sweep) {
    std::vector<pid_t> found;
    each_number_in("/proc", [&](pid_t pid) {
      if (pid != ::getpid() && carries(pid, entry)) found.push_back(pid);
    });
    if (found.empty()) break;  // a killed process has no environment any more, even while it waits to be reaped
    for (const pid_t pid : found) {
      if (::kill(pid, SIGKILL) == 0) killed.insert(pid);
    }
    ::usleep(1'000);
  }
  return static_cast<int>(killed.size());
}

}  // namespace tidemill::jobs
