#include "jobs/launcher.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "jobs/shim.h"

namespace tidemill::jobs {
namespace {

// Executes `command` with `socket` as its descriptor 3, in a session of its own, so that Ctrl-C on the server's
// terminal does not reach it.
Result<pid_t> spawn(const std::vector<std::string>& command, int socket) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, socket, kShimSocket);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::sigfillset(&signals);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));  // NOLINT: the C signature
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int error_number = ::posix_spawn(&pid, command.front().c_str(), &actions, &attributes, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error_number != 0) return fail(errno_error("start", command.front(), error_number));
  return pid;
}

// Hands `passed` over through `socket` (unix(7), SCM_RIGHTS). False when the other side is gone.
bool send_descriptor(int socket, int passed) {
  char byte = 'F';
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  while (true) {
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    return sent == 1;
  }
}

}  // namespace

Launcher::~Launcher() { end(); }

void Launcher::end() {
  socket_ = FileDescriptor();  // it ends when it sees this
  if (pid_ < 0) return;
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

void Launcher::renew() {
  const std::lock_guard lock(mutex_);
  end();
}

Result<void> Launcher::start() {
  end();
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return fail(errno_error("make", "a socket pair", errno));
  }
  FileDescriptor ours(sockets[0]);
  const FileDescriptor theirs(sockets[1]);
  pid_ = TM_TRY(spawn(command_, theirs.get()));
  socket_ = std::move(ours);
  return {};
}

Result<void> Launcher::fork_shim(int socket) {
  const std::lock_guard lock(mutex_);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!socket_.open()) TM_CHECK(start());
    if (send_descriptor(socket_.get(), socket)) return {};
    end();
  }
  return fail(Code::kInternal, "jobs.no_launcher", "The process that starts programs ends at once.",
              "See the server's log.");
}

}  // namespace tidemill::jobs
