#include "jobs/launch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "jobs/hiding.h"
#include "jobs/shim.h"

namespace tidemill::jobs {
namespace {

constexpr int kExecFailed = 127;
constexpr int kNiceness = 5;  // a step yields the processor to the server's answers, and to the shim that must end it

// How far the child came when it met an errno.
enum class Stage { program, namespaces, sandbox };
struct Failure {
  Stage stage = Stage::program;
  int error_number = 0;
};

struct Pipe {
  FileDescriptor read_end;
  FileDescriptor write_end;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail(errno_error("make", "a pipe", errno));
  return Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

// All that the child needs, made before the fork so that it need not allocate.
struct Plan {
  std::vector<std::string> candidates;  // paths to try, in the order of PATH
  std::vector<std::string> environment;
  std::vector<char*> argv;
  std::vector<char*> envp;
  const ProcessSpec* spec = nullptr;
  Hiding hiding;
  int output = -1;
  int failure = -1;  // takes a Failure when the program cannot be started; closes when it could
  int ending = -1;   // init's: takes the Ending
  int go = -1;       // init's: one byte comes when the shim is ready; end of stream when it has died
};

// --- between fork and exec: no allocation, no locks ------------------------------------------------------------------

void limit(__rlimit_resource_t resource, std::int64_t value) {
  if (value <= 0) return;
  const rlimit bound{static_cast<rlim_t>(value), static_cast<rlim_t>(value)};
  ::setrlimit(resource, &bound);
}

void set_limits(const ProcessLimits& limits) {
  limit(RLIMIT_CPU, limits.cpu_s);
  limit(RLIMIT_NOFILE, limits.files);
  limit(RLIMIT_FSIZE, limits.file_bytes);
  // The sampler holds the tree to memory_bytes; this is the wall behind it for one process that grows faster than we
  // look. It is wide since the threads of numeric libraries reserve much more than they ever touch.
  if (limits.memory_bytes > 0) limit(RLIMIT_DATA, 2 * limits.memory_bytes + (std::int64_t{2} << 30));
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);
}

[[noreturn]] void give_up(const Plan& plan, int error_number, Stage stage = Stage::program) {
  const Failure failure{stage, error_number};
  [[maybe_unused]] const ssize_t written = ::write(plan.failure, &failure, sizeof failure);
  ::_exit(kExecFailed);
}

void write_text(const char* path, const char* text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  [[maybe_unused]] const ssize_t written = ::write(file, text, std::strlen(text));
  ::close(file);
}

[[noreturn]] void become_program(const Plan& plan) {
  ::setsid();
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_DFL);
  sigset_t nothing;
  ::sigemptyset(&nothing);
  ::sigprocmask(SIG_SETMASK, &nothing, nullptr);
  ::umask(0077);
  [[maybe_unused]] const int nice = ::nice(kNiceness);
  write_text("/proc/self/oom_score_adj", "500");  // when memory runs out the kernel should take a step, not the server
  if (::chdir(plan.spec->work_folder.c_str()) != 0) give_up(plan, errno);
  const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (null < 0 || ::dup2(null, 0) < 0 || ::dup2(plan.output, 1) < 0 || ::dup2(plan.output, 2) < 0) give_up(plan, errno);
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  set_limits(plan.spec->limits);
  if (const int error = plan.hiding.shut(); error != 0) give_up(plan, error, Stage::sandbox);
  int worst = ENOENT;
  for (const std::string& candidate : plan.candidates) {
    ::execve(candidate.c_str(), plan.argv.data(), plan.envp.data());
    if (errno != ENOENT && errno != ENOTDIR) worst = errno;
  }
  give_up(plan, worst);
}

// --- init: the first process of the namespace ------------------------------------------------------------------------

// /proc must show the namespace's own numbers, or programs that look themselves up there by getpid() find a stranger.
bool mount_proc() {
  return ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) == 0;
}

[[noreturn]] void become_init(const Plan& plan) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  char go = 0;
  if (::read(plan.go, &go, 1) != 1) ::_exit(1);  // the shim died before the line above could take effect
  if (!mount_proc()) give_up(plan, errno, Stage::namespaces);
  if (const int error = plan.hiding.cover(); error != 0) give_up(plan, error, Stage::sandbox);
  const pid_t program = ::fork();
  if (program < 0) give_up(plan, errno);
  if (program == 0) become_program(plan);
  ::close(plan.failure);
  ::close(plan.output);
  ::close(kShimSocket);  // its end must tell that the shim has ended
  // The program must not find by us what it cannot reach by itself: our working folder, our files.
  ::prctl(PR_SET_DUMPABLE, 0);
  while (true) {
    Ending ending;
    rusage usage{};
    const pid_t ended = ::wait4(-1, &ending.status, 0, &usage);
    if (ended < 0) {
      ::pause();  // nobody is left; the shim ends us when it has read how the program ended
      continue;
    }
    if (ended != program) continue;
    ending.max_rss_bytes = static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
    ending.cpu_ms = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000 +
                    (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1'000;
    [[maybe_unused]] const ssize_t written = ::write(plan.ending, &ending, sizeof ending);
  }
}

// Makes user `uid` the same user inside `child`'s new user namespace. Without it the kernel would show everything as
// nobody's.
void map_own_user(pid_t child) {
  const std::string folder = "/proc/" + std::to_string(child);
  write_text((folder + "/setgroups").c_str(), "deny");
  const auto map = [](unsigned id) { return std::to_string(id) + " " + std::to_string(id) + " 1"; };
  write_text((folder + "/uid_map").c_str(), map(::geteuid()).c_str());
  write_text((folder + "/gid_map").c_str(), map(::getegid()).c_str());
}

// fork() into new namespaces.
pid_t fork_into(unsigned long flags) {
  return static_cast<pid_t>(::syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, 0UL));
}

// --- the shim's side -----------------------------------------------------------------------------------------------

std::vector<std::string> candidates_for(const std::string& program, const std::map<std::string, std::string>& env) {
  if (program.find('/') != std::string::npos) return {program};
  const auto found = env.find("PATH");
  std::string_view rest = found == env.end() ? "/usr/local/bin:/usr/bin:/bin" : std::string_view(found->second);
  std::vector<std::string> candidates;
  while (true) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    // A part of PATH that is not absolute would mean the work folder: files that a step made must not pass for
    // programs.
    if (colon > 0 && rest.front() == '/') candidates.push_back(std::string(rest.substr(0, colon)) + "/" + program);
    if (colon == rest.size()) return candidates;
    rest.remove_prefix(colon + 1);
  }
}

Result<Plan> make_plan(const ProcessSpec& spec) {
  Plan plan;
  plan.hiding = TM_TRY(Hiding::plan(spec.sandbox, spec.work_folder));
  plan.spec = &spec;
  plan.candidates = candidates_for(spec.argv.front(), spec.env);
  for (const auto& [name, value] : spec.env) plan.environment.push_back(name + "=" + value);
  if (!spec.mark.empty()) plan.environment.push_back("TIDEMILL_MARK=" + spec.mark);
  for (const std::string& argument : spec.argv)
    plan.argv.push_back(const_cast<char*>(argument.c_str()));  // NOLINT: execve's signature
  for (std::string& entry : plan.environment) plan.envp.push_back(entry.data());
  plan.argv.push_back(nullptr);
  plan.envp.push_back(nullptr);
  return plan;
}

Error no_sandbox(const ProcessSpec& spec, std::string_view cause) {
  return {Code::kUnavailable, "jobs.no_sandbox",
          fmt::format("'{}' could not be shut off from the server's own files: {}.", spec.argv.front(), cause),
          "Start the server anew, which looks at what this machine allows; see --steps-sandbox."};
}

std::unexpected<Error> no_namespace() {
  return fail(Code::kUnavailable, "jobs.no_namespace", "This kernel gives no process namespace.");
}

Error not_executable(const ProcessSpec& spec, int error_number) {
  return {Code::kNotFound, "jobs.not_executable",
          "The program '" + spec.argv.front() + "' could not be started: " + std::strerror(error_number) + ".",
          "Give a program that exists and may be executed."};
}

// Forks, waits until the program runs; kUnavailable when the namespaces cannot be had.
Result<Launched> launch_with(const ProcessSpec& spec, Plan& plan, unsigned long namespaces) {
  Pipe output = TM_TRY(make_pipe());
  Pipe failure = TM_TRY(make_pipe());
  Pipe ending = TM_TRY(make_pipe());
  Pipe go = TM_TRY(make_pipe());
  plan.output = output.write_end.get();
  plan.failure = failure.write_end.get();
  plan.ending = ending.write_end.get();
  plan.go = go.read_end.get();

  const pid_t shim = ::getpid();
  const pid_t root = namespaces != 0 ? fork_into(namespaces) : ::fork();
  if (root < 0) return namespaces != 0 ? no_namespace() : fail(errno_error("fork for", spec.argv.front(), errno));
  if (root == 0) {
    ::close(go.write_end.release());
    if (namespaces != 0) become_init(plan);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != shim) ::_exit(1);
    become_program(plan);
  }
  if ((namespaces & CLONE_NEWUSER) != 0) map_own_user(root);
  failure.write_end = FileDescriptor();
  if (::write(go.write_end.get(), "G", 1) != 1) return fail(errno_error("write to", "a pipe", errno));
  Failure met;
  if (::read(failure.read_end.get(), &met, sizeof met) == sizeof met) {
    ::kill(root, SIGKILL);
    ::waitpid(root, nullptr, 0);
    if (met.stage == Stage::namespaces) return no_namespace();
    if (met.stage == Stage::sandbox) return fail(no_sandbox(spec, std::strerror(met.error_number)));
    return fail(not_executable(spec, met.error_number));
  }
  ::fcntl(output.read_end.get(), F_SETFL, O_NONBLOCK);
  return Launched{root, namespaces != 0, std::move(output.read_end), std::move(ending.read_end)};
}

}  // namespace

Result<Launched> launch(const ProcessSpec& spec) {
  Plan plan = TM_TRY(make_plan(spec));
  const bool mounts = spec.sandbox.way == SandboxWay::mounts;
  const unsigned long own = CLONE_NEWPID | CLONE_NEWNS | (mounts && !spec.sandbox.network ? CLONE_NEWNET : 0UL);
  for (const unsigned long namespaces : {own, own | CLONE_NEWUSER, 0UL}) {
    if (namespaces != 0 && !spec.namespaces) continue;
    if (namespaces == 0 && mounts) return fail(no_sandbox(spec, "this machine gives it no mount namespace"));
    if ((namespaces & CLONE_NEWUSER) != 0 && ::geteuid() == 0)
      continue;  // root that may not make them lacks it everywhere
    auto launched = launch_with(spec, plan, namespaces);
    if (launched || launched.error().reason != "jobs.no_namespace") return launched;
  }
  return fail(Code::kInternal, "jobs.not_launched", "The program could not be launched.");
}

}  // namespace tidemill::jobs
