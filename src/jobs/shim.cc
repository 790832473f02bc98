#include "jobs/shim.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <set>

#include "base/clock.h"
#include "jobs/executor.h"
#include "jobs/launch.h"
#include "jobs/process_tree.h"

namespace tidemill::jobs {
namespace {

constexpr std::size_t kSpecBytesMax = 16 * 1024 * 1024;
constexpr std::int64_t kKillPatienceMs = 10'000;  // for a process that is stuck in the kernel
constexpr std::int64_t kKillAgainMs = 100;
constexpr int kReapPauseUs = 200;
constexpr std::size_t kNoMax = static_cast<std::size_t>(-1);

Result<std::string> read_exactly(int descriptor, std::size_t bytes) {
  std::string text(bytes, '\0');
  std::size_t got = 0;
  while (got < bytes) {
    const ssize_t count = ::read(descriptor, text.data() + got, bytes - got);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail(Code::kUnavailable, "jobs.server_gone", "The server went away.");
    got += static_cast<std::size_t>(count);
  }
  return text;
}

Result<ProcessSpec> read_spec() {
  const std::string length_text = TM_TRY(read_exactly(kShimSocket, sizeof(std::uint32_t)));
  std::uint32_t length = 0;
  std::memcpy(&length, length_text.data(), sizeof length);
  if (length > kSpecBytesMax)
    return fail(Code::kTooLarge, "jobs.spec_too_large", "The process specification is too large.");
  return json::decode<ProcessSpec>(TM_TRY(read_exactly(kShimSocket, length)));
}

// The kept output: a file that ends with a note when not all was kept.
class Log {
 public:
  Result<void> open(const std::string& path, std::int64_t bytes_max) {
    bytes_max_ = bytes_max;
    if (path.empty()) return {};
    file_ = FileDescriptor(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file_.open()) return fail(errno_error("open", path, errno));
    return {};
  }

  void add(std::string_view bytes) {
    total_ += static_cast<std::int64_t>(bytes.size());
    if (truncated_) return;
    if (bytes_max_ > 0 && total_ > bytes_max_) {
      const std::int64_t over = total_ - bytes_max_;
      bytes.remove_suffix(
          static_cast<std::size_t>(std::min<std::int64_t>(over, static_cast<std::int64_t>(bytes.size()))));
      truncated_ = true;
    }
    write(bytes);
    if (truncated_)
      write("\n[tidemill] The limit of " + std::to_string(bytes_max_) +
            " bytes of output is reached; the rest is not kept.\n");
  }

  [[nodiscard]] bool truncated() const { return truncated_; }
  [[nodiscard]] std::int64_t total() const { return total_; }

 private:
  void write(std::string_view bytes) {
    while (file_.open() && !bytes.empty()) {
      const ssize_t count = ::write(file_.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {  // a full disk must not stop the program: the result tells that output is missing
        truncated_ = true;
        file_ = FileDescriptor();
        return;
      }
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }

  FileDescriptor file_;
  std::int64_t bytes_max_ = 0;
  std::int64_t total_ = 0;
  bool truncated_ = false;
};

class Shim {
 public:
  explicit Shim(ProcessSpec spec) : spec_(std::move(spec)) {}

  // Runs the program; returns nothing when the server went away meanwhile: then nobody is left to be told.
  std::optional<ProcessResult> run() {
    started_ms_ = clock_.steady_ms();
    if (auto prepared = prepare(); !prepared) {
      result_.error = prepared.error().message;
      return result_;
    }
    while (!ended_ && !server_gone_) turn();
    const bool all_dead = end_descendants(server_gone_);
    drain_output();
    if (server_gone_) return std::nullopt;
    if (!all_dead) result_.error = "Some of its processes could not be killed; they are stuck in the kernel.";
    result_.wall_ms = clock_.steady_ms() - started_ms_;
    result_.output_bytes = log_.total();
    result_.output_truncated = log_.truncated();
    return result_;
  }

 private:
  Result<void> prepare() {
    if (!spec_.lock_file.empty()) {
      lock_ = FileDescriptor(::open(spec_.lock_file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
      if (!lock_.open()) return fail(errno_error("open", spec_.lock_file, errno));
      if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
        return fail(Code::kConflict, "jobs.locked", "An earlier attempt still holds '" + spec_.lock_file + "'.");
      }
    }
    TM_CHECK(log_.open(spec_.log_file, spec_.limits.output_bytes));
    sigset_t watched;
    ::sigemptyset(&watched);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT, SIGHUP}) ::sigaddset(&watched, signal);
    ::sigprocmask(SIG_BLOCK, &watched, nullptr);
    signals_ = FileDescriptor(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.open()) return fail(errno_error("make", "signalfd", errno));
    process_ = TM_TRY(launch(spec_));
    if (spec_.time_limit_ms > 0) deadline_ms_ = started_ms_ + spec_.time_limit_ms;
    next_sample_ms_ = started_ms_ + kSampleMs;
    return {};
  }

  // Waits for the next thing to happen and deals with it.
  void turn() {
    std::int64_t wake_ms = next_sample_ms_;
    if (deadline_ms_ > 0) wake_ms = std::min(wake_ms, deadline_ms_);
    const int wait_ms = static_cast<int>(std::clamp<std::int64_t>(wake_ms - clock_.steady_ms(), 0, 1'000));
    std::array<pollfd, 4> watched{{{kShimSocket, POLLIN, 0},
                                   {signals_.get(), POLLIN, 0},
                                   {process_.output.get(), POLLIN, 0},  // a closed one is -1, which poll passes over
                                   {process_.namespaced ? process_.endings.get() : -1, POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), wait_ms) < 0 && errno != EINTR) server_gone_ = true;
    if (watched[0].revents != 0) read_command();
    if (watched[1].revents != 0) read_signals();
    if (watched[2].revents != 0) read_output();
    if (watched[3].revents != 0) read_ending();
    const std::int64_t now_ms = clock_.steady_ms();
    if (deadline_ms_ > 0 && now_ms >= deadline_ms_) deadline_passed(now_ms);
    if (now_ms >= next_sample_ms_) sample();
  }

  void read_command() {
    char command = 0;
    const ssize_t count = ::read(kShimSocket, &command, 1);
    if (count == 0 || (count < 0 && errno != EINTR && errno != EAGAIN)) {
      server_gone_ = true;
    } else if (count == 1 && command == kCancelByte) {
      ask_to_end(KillReason::cancelled);
    }
  }

  void read_signals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) {
      if (info.ssi_signo != SIGCHLD) ask_to_end(KillReason::cancelled);
    }
    reap();
  }

  // Init tells how the program ended.
  void read_ending() {
    Ending ending;
    if (::read(process_.endings.get(), &ending, sizeof ending) == sizeof ending) {
      ended(ending);
    } else {
      process_.endings = FileDescriptor();  // somebody killed init; reap() sees that
    }
  }

  void ended(const Ending& ending) {
    if (ended_) return;
    ended_ = true;
    result_.exit_code = WIFEXITED(ending.status) ? WEXITSTATUS(ending.status) : 0;
    result_.signal = WIFSIGNALED(ending.status) ? WTERMSIG(ending.status) : 0;
    result_.max_rss_bytes = std::max(result_.max_rss_bytes, ending.max_rss_bytes);
    result_.cpu_ms = ending.cpu_ms;
  }

  // Takes every ended child, ours or adopted. Returns false when there is no child at all.
  bool reap() {
    while (true) {
      Ending ending;
      rusage usage{};
      const pid_t pid = ::wait4(-1, &ending.status, WNOHANG, &usage);
      if (pid < 0) return errno != ECHILD;
      if (pid == 0) return true;
      if (pid != process_.root) continue;
      ending.max_rss_bytes = static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
      ending.cpu_ms = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000 +
                      (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1'000;
      if (process_.namespaced && process_.endings.open()) read_ending();  // what init said before it ended counts
      ended(ending);
    }
  }

  void read_output() {
    std::array<char, 65'536> buffer{};
    const ssize_t count = ::read(process_.output.get(), buffer.data(), buffer.size());
    if (count > 0) {
      log_.add({buffer.data(), static_cast<std::size_t>(count)});
      if (log_.truncated() && spec_.output_policy == OutputPolicy::kill) kill_now(KillReason::output);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
      process_.output = FileDescriptor();  // all writers have closed it; the program may live on
    }
  }

  void drain_output() {
    std::int64_t before = -1;
    while (process_.output.open() && log_.total() != before) {
      before = log_.total();
      read_output();
    }
  }

  void deadline_passed(std::int64_t now_ms) {
    if (ending_) {
      deadline_ms_ = now_ms + kKillAgainMs;
      kill_all();
    } else {
      ask_to_end(KillReason::time_limit);
    }
  }

  // Every process of the program; init, which is ours, is not one.
  [[nodiscard]] std::vector<pid_t> members(std::size_t count_max = kNoMax) const {
    auto pids = descendants(::getpid(), count_max);
    if (process_.namespaced) std::erase(pids, process_.root);
    return pids;
  }

  void ask_to_end(KillReason reason) {
    if (ending_) return;
    ending_ = true;
    result_.killed_for = reason;
    deadline_ms_ = clock_.steady_ms() + spec_.grace_ms;
    for (const pid_t pid : members()) {
      ::kill(pid, SIGTERM);
      ::kill(pid, SIGCONT);  // a stopped process could not heed it
    }
  }

  void kill_now(KillReason reason) {
    if (result_.killed_for == KillReason::none) result_.killed_for = reason;
    ending_ = true;
    deadline_ms_ = clock_.steady_ms() + kKillAgainMs;
    kill_all();
  }

  // With a namespace one signal to init is enough. Without, whole process groups are killed, since the kernel lets no
  // member of a group fork while it signals the group: a fork bomb would outrun signals to single processes.
  void kill_all() {
    if (process_.namespaced) {
      ::kill(process_.root, SIGKILL);
      return;
    }
    std::set<pid_t> groups;
    for (const pid_t pid : members()) {
      const pid_t group = ::getpgid(pid);
      if (group > 1 && group != ::getpgrp() && groups.insert(group).second) ::kill(-group, SIGKILL);
      ::kill(pid, SIGKILL);
    }
  }

  void sample() {
    const auto limit = spec_.limits.processes > 0 ? static_cast<std::size_t>(spec_.limits.processes) : kNoMax - 1;
    const auto pids = members(limit + 2);
    if (pids.size() > limit) {
      kill_now(KillReason::processes);
    } else {
      const std::int64_t bytes = memory_bytes(pids, spec_.limits.memory_bytes);
      result_.max_rss_bytes = std::max(result_.max_rss_bytes, bytes);
      if (spec_.limits.memory_bytes > 0 && bytes > spec_.limits.memory_bytes) kill_now(KillReason::memory);
    }
    next_sample_ms_ = clock_.steady_ms() + kSampleMs;
  }

  // Kills and reaps until no descendant is left. Returns false when some would not die in time (never, with `forever`).
  bool end_descendants(bool forever) {
    if (process_.root < 0) return true;
    const std::int64_t until_ms = clock_.steady_ms() + kKillPatienceMs;
    if (result_.killed_for == KillReason::none) result_.leftovers = static_cast<std::int64_t>(members().size());
    while (reap()) {
      if (!forever && clock_.steady_ms() > until_ms) return false;
      kill_all();
      if (!forever) drain_output();
      ::usleep(kReapPauseUs);
    }
    return true;
  }

  ProcessSpec spec_;
  const SystemClock clock_;
  ProcessResult result_;
  Log log_;
  FileDescriptor lock_;
  FileDescriptor signals_;
  Launched process_;
  bool ended_ = false;  // the program; its descendants may live
  bool server_gone_ = false;
  bool ending_ = false;  // it has been told to end
  std::int64_t started_ms_ = 0;
  std::int64_t deadline_ms_ = 0;  // 0 = none
  std::int64_t next_sample_ms_ = 0;
};

bool send_text(const std::string& text) {
  return ::send(kShimSocket, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
}

// The life of a shim, from its fork on.
int live_as_shim() {
  ::signal(SIGCHLD, SIG_DFL);
  ::setsid();
  ::fcntl(kShimSocket, F_SETFD, FD_CLOEXEC);
  if (::prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    std::fprintf(stderr, "tidemill: this kernel lacks subreapers or no-new-privs: %s\n", std::strerror(errno));
    return 1;
  }
  auto spec = read_spec();
  if (!spec || !send_text(std::to_string(::getpid()) + "\n")) return 1;
  const auto result = Shim(*std::move(spec)).run();
  return result && send_text(json::encode(*result)) ? 0 : 1;
}

// Waits for a socket from the server; closed when the server is gone.
FileDescriptor receive_socket() {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t count = 0;
  while ((count = ::recvmsg(kShimSocket, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR) {
  }
  const cmsghdr* header = count == 1 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return {};
  int descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return FileDescriptor(descriptor);
}

}  // namespace

int run_shim() {
  ::close_range(kShimSocket + 1, ~0U, 0);
  int type = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(kShimSocket, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_SEQPACKET) {
    std::fprintf(stderr, "tidemill: %s is for the server's own use.\n", std::string(kShimVerb).c_str());
    return 1;
  }
  ::signal(SIGCHLD, SIG_IGN);  // nobody waits for shims: their sockets tell all
  while (true) {
    const FileDescriptor socket = receive_socket();
    if (!socket.open()) return 0;
    const pid_t pid = ::fork();
    if (pid != 0) continue;  // when the fork failed, closing the socket tells the server
    ::dup2(socket.get(), kShimSocket);
    ::close_range(kShimSocket + 1, ~0U, 0);
    // Without the exit handlers of the process that was copied.
    ::_exit(live_as_shim());
  }
}

}  // namespace tidemill::jobs
