// Runs other programs: each as a process of its own that cannot outlive its reason to run.
//
//   auto process = executor.start({.argv = {"python3", "train.py"}, .work_folder = folder, .log_file = log});
//   ProcessResult result = TM_TRY(process->wait());
//
// Between the server and the program stands a shim: our own binary, executed anew with the hidden verb `__exec`. The
// shim adopts every descendant of the program (PR_SET_CHILD_SUBREAPER), so a child that forks twice, calls setsid or
// ignores SIGTERM is still found and killed when the program ends, when its time is up, when the caller cancels, and
// when the server dies, which the shim sees as the end of the socket that ties the two. No shell is involved: argv goes
// to execve as it is.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <boost/describe.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/result.h"
#include "jobs/sandbox.h"

namespace tidemill::jobs {

// The hidden verb: `tidemill __exec`. server/main.cc calls run_shim (shim.h) when argv[1] is this, before anything
// else.
constexpr std::string_view kShimVerb = "__exec";

// What happens once a program has written limits.output_bytes: `drop` reads on and throws the rest away, `kill` ends
// it.
enum class OutputPolicy { drop, kill };
BOOST_DESCRIBE_ENUM(OutputPolicy, drop, kill)

// Zero means no limit. Those on memory and processes count the program with all its descendants and are watched every
// kSampleMs; the others are the kernel's own (setrlimit) and hold for each process.
struct ProcessLimits {
  std::int64_t cpu_s = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t processes = 512;
  std::int64_t files = 1024;                     // open at once
  std::int64_t file_bytes = 0;                   // size of one written file
  std::int64_t output_bytes = 16 * 1024 * 1024;  // of stdout and stderr together that the log keeps
};
BOOST_DESCRIBE_STRUCT(ProcessLimits, (), (cpu_s, memory_bytes, processes, files, file_bytes, output_bytes))

struct ProcessSpec {
  std::vector<std::string> argv;             // argv[0] without a slash is looked up in env's PATH
  std::map<std::string, std::string> env{};  // the whole environment: nothing is inherited
  std::string work_folder{};                 // must exist
  std::string log_file{};   // stdout and stderr, appended, in the order of writing; may be read while it grows
  std::string lock_file{};  // held (flock) until every descendant is dead; "" = none
  std::string mark{};       // put into the environment as TIDEMILL_MARK, for kill_marked; "" = none
  ProcessLimits limits{};
  OutputPolicy output_policy = OutputPolicy::drop;
  std::int64_t time_limit_ms = 0;  // 0 = none; SIGTERM to all, then SIGKILL after grace_ms
  std::int64_t grace_ms = 2'000;
  bool namespaces = true;  // false: as on a kernel that gives none (launch.h)
  Sandbox sandbox{};       // what it cannot be shut off from, it is not started with: see ProcessResult::error
};
BOOST_DESCRIBE_STRUCT(ProcessSpec, (),
                      (argv, env, work_folder, log_file, lock_file, mark, limits, output_policy, time_limit_ms,
                       grace_ms, namespaces, sandbox))

enum class KillReason { none, time_limit, cancelled, memory, processes, output };
BOOST_DESCRIBE_ENUM(KillReason, none, time_limit, cancelled, memory, processes, output)

struct ProcessResult {
  int exit_code = 0;  // meaningful when signal is 0
  int signal = 0;     // that ended the program; 0 = it exited
  KillReason killed_for = KillReason::none;
  bool output_truncated = false;
  std::int64_t output_bytes = 0;  // written by the program, kept or not
  std::int64_t wall_ms = 0;
  std::int64_t cpu_ms = 0;  // of the program and the children it waited for
  std::int64_t max_rss_bytes =
      0;  // of all its processes together, as sampled, or of the largest one, as the kernel counted
  std::int64_t leftovers = 0;  // descendants that were still there when it ended, and were killed
  std::string error;           // why it could not be started; "" = it was

  [[nodiscard]] bool succeeded() const {
    return error.empty() && exit_code == 0 && signal == 0 && killed_for == KillReason::none;
  }
};
BOOST_DESCRIBE_STRUCT(ProcessResult, (),
                      (exit_code, signal, killed_for, output_truncated, output_bytes, wall_ms, cpu_ms, max_rss_bytes,
                       leftovers, error))

// Returns one sentence about how the program ended, such as "It was ended after its time limit of 2.0 s.".
[[nodiscard]] std::string describe(const ProcessResult& result, const ProcessSpec& spec);

// One program being run. wait() belongs to one thread; cancel() and kill() may be called from any.
class Process {
 public:
  // Kills what is left, as kill() does, and waits for it.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Waits for the end, at which no descendant is alive any more. kInternal, reason "jobs.shim_died", when somebody
  // killed the shim: its program is then killed too. Call once.
  [[nodiscard]] Result<ProcessResult> wait();

  // Asks the program to end: SIGTERM, then SIGKILL after grace_ms. wait() then tells killed_for = cancelled.
  void cancel();

  // Kills it with all its descendants at once. wait() then tells killed_for = cancelled.
  void kill();

  // Returns the shim's process id, waiting until it has begun. Of the waiting thread.
  [[nodiscard]] pid_t shim();

 private:
  friend class Executor;
  Process(FileDescriptor socket, std::string mark) : socket_(std::move(socket)), mark_(std::move(mark)) {}
  void read_more();

  const FileDescriptor socket_;
  const std::string mark_;
  std::atomic<bool> killed_ = false;
  std::string report_;  // of the waiting thread: the shim's process id, a line, then its result as JSON
  bool over_ = false;   // of the waiting thread
};

class Launcher;

struct ExecutorOptions {
  // The command that runs the shim: by default this very binary with kShimVerb.
  std::vector<std::string> shim_argv = {"/proc/self/exe", std::string(kShimVerb)};
};

// Any thread. Owns the process that forks shims, which begins with the first program.
class Executor {
 public:
  explicit Executor(ExecutorOptions options = {});

  // Starts the program and returns at once; that it cannot be executed shows in the result of wait(). kInvalidArgument
  // for an empty argv, or a NUL in it or in env.
  [[nodiscard]] Result<std::unique_ptr<Process>> start(const ProcessSpec& spec) const;

  // start + wait.
  [[nodiscard]] Result<ProcessResult> run(const ProcessSpec& spec) const;

 private:
  [[nodiscard]] Result<std::unique_ptr<Process>> begin(std::string_view message, const ProcessSpec& spec) const;

  const std::shared_ptr<Launcher> launcher_;
};

// Waits until nobody holds `lock_file`, then kills every process that carries `mark`; what a restarted server calls
// before it runs a step anew. Returns how many were killed; kUnavailable when the lock is not free after `wait_ms`.
[[nodiscard]] Result<int> settle_orphans(const std::string& lock_file, std::string_view mark, std::int64_t wait_ms);

}  // namespace tidemill::jobs
