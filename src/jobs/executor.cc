#include "jobs/executor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "jobs/launcher.h"
#include "jobs/process_tree.h"
#include "jobs/shim.h"

namespace tidemill::jobs {
namespace {

constexpr std::int64_t kLockPollMs = 5;

Result<void> check_spec(const ProcessSpec& spec) {
  if (spec.argv.empty() || spec.argv.front().empty()) {
    return fail(Code::kInvalidArgument, "jobs.no_program", "The command has no program.",
                "Give its name as the first word.");
  }
  const auto has_nul = [](const std::string& text) { return text.find('\0') != std::string::npos; };
  for (const std::string& argument : spec.argv) {
    if (has_nul(argument)) {
      return fail(Code::kInvalidArgument, "jobs.nul_in_argument",
                  "An argument of '" + spec.argv.front() + "' has a NUL character.", "Remove it.");
    }
  }
  for (const auto& [name, value] : spec.env) {
    if (name.empty() || name.find('=') != std::string::npos || has_nul(name) || has_nul(value)) {
      return fail(Code::kInvalidArgument, "jobs.bad_environment", "'" + name + "' cannot be an environment variable.",
                  "Use a name without '=' and a value without NUL.");
    }
  }
  return {};
}

bool send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

}  // namespace

std::string describe(const ProcessResult& result, const ProcessSpec& spec) {
  switch (result.killed_for) {
    case KillReason::time_limit:
      return fmt::format("It was ended after its time limit of {:.1f} s.",
                         static_cast<double>(spec.time_limit_ms) / 1'000);
    case KillReason::cancelled:
      return "It was cancelled.";
    case KillReason::memory:
      return fmt::format("It was killed for using more than its {} MiB of memory.", spec.limits.memory_bytes >> 20);
    case KillReason::processes:
      return fmt::format("It was killed for having more than {} processes.", spec.limits.processes);
    case KillReason::output:
      return fmt::format("It was killed for writing more than {} bytes of output.", spec.limits.output_bytes);
    case KillReason::none:
      break;
  }
  if (!result.error.empty()) return result.error;
  if (result.signal == SIGXCPU) return fmt::format("It was killed after {} s of processor time.", spec.limits.cpu_s);
  if (result.signal == SIGXFSZ)
    return fmt::format("It was killed for writing a file of more than {} bytes.", spec.limits.file_bytes);
  if (result.signal != 0)
    return fmt::format("It was killed by signal {} ({}).", result.signal, ::strsignal(result.signal));
  return fmt::format("It exited with code {}.", result.exit_code);
}

Executor::Executor(ExecutorOptions options) : launcher_(std::make_shared<Launcher>(std::move(options.shim_argv))) {}

Result<std::unique_ptr<Process>> Executor::begin(std::string_view message, const ProcessSpec& spec) const {
  std::array<int, 2> sockets{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return fail(errno_error("make", "a socket pair", errno));
  }
  std::unique_ptr<Process> process(new Process(FileDescriptor(sockets[0]), spec.mark));
  {
    const FileDescriptor theirs(sockets[1]);  // closed before we wait: our own copy would keep the socket from ending
    TM_CHECK(launcher_->fork_shim(theirs.get()));
  }
  if (send_all(process->socket_.get(), message) && process->shim() > 0) return process;
  return fail(Code::kInternal, "jobs.shim_died",
              "The process that should run '" + spec.argv.front() + "' did not start.", "See the server's log.");
}

Result<std::unique_ptr<Process>> Executor::start(const ProcessSpec& spec) const {
  TM_CHECK(check_spec(spec));
  const std::string text = json::encode(spec);
  const auto length = static_cast<std::uint32_t>(text.size());
  std::string message(reinterpret_cast<const char*>(&length), sizeof length);
  message += text;
  auto process = begin(message, spec);
  if (process) return process;
  // A launcher that was killed a moment ago may have taken the socket with it: nothing has begun then, so begin again,
  // with a new one: a dying process still takes messages.
  launcher_->renew();
  return begin(message, spec);
}

Result<ProcessResult> Executor::run(const ProcessSpec& spec) const { return TM_TRY(start(spec))->wait(); }

Process::~Process() {
  if (!over_) kill();
  while (!over_) read_more();
}

void Process::read_more() {
  std::array<char, 4096> buffer{};
  const ssize_t count = ::read(socket_.get(), buffer.data(), buffer.size());
  if (count > 0) {
    report_.append(buffer.data(), static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    over_ = true;  // the shim has ended, and with it all that it watched
  }
}

pid_t Process::shim() {
  while (!over_ && report_.find('\n') == std::string::npos) read_more();
  pid_t pid = -1;
  std::from_chars(report_.data(), report_.data() + report_.size(), pid);
  return pid;
}

Result<ProcessResult> Process::wait() {
  while (!over_) read_more();
  const std::size_t begin = report_.find('\n');
  if (begin != std::string::npos) {
    if (auto result = json::decode<ProcessResult>(std::string_view(report_).substr(begin + 1)))
      return *std::move(result);
  }
  if (killed_.load()) {
    ProcessResult result;
    result.killed_for = KillReason::cancelled;
    return result;
  }
  const int killed = mark_.empty() ? 0 : kill_marked(mark_);
  return fail(Code::kInternal, "jobs.shim_died",
              fmt::format("The process that watched over it was killed; {} left behind were killed too.", killed),
              "Run it again.");
}

void Process::cancel() { send_all(socket_.get(), std::string_view(&kCancelByte, 1)); }

void Process::kill() {
  killed_ = true;
  ::shutdown(socket_.get(), SHUT_WR);  // the shim takes it for the server's death
}

Result<int> settle_orphans(const std::string& lock_file, std::string_view mark, std::int64_t wait_ms) {
  const FileDescriptor lock(::open(lock_file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (lock.open()) {
    const SystemClock clock;
    const std::int64_t until_ms = clock.steady_ms() + wait_ms;
    while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (clock.steady_ms() >= until_ms) {
        return fail(Code::kUnavailable, "jobs.orphan_alive",
                    "An earlier attempt still runs: '" + lock_file + "' is locked by a process that cannot be killed.",
                    "Look for processes stuck in the kernel (state D), or restart the machine.");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(kLockPollMs));
    }
  }
  return mark.empty() ? 0 : kill_marked(mark);
}

}  // namespace tidemill::jobs
