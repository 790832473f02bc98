#include "jobs/executor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/clock.h"
#include "jobs/process_tree.h"
#include "jobs/shim.h"

namespace tidemill::jobs {
namespace {

constexpr std::int64_t kMiB = 1 << 20;

// Everything holds with and without process namespaces.
class ExecutorTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    auto folder = TemporaryFolder::create();
    ASSERT_TRUE(folder) << folder.error().text();
    folder_.emplace(*std::move(folder));
  }

  // A specification that runs `script` by sh, with a mark of its own by which survivors are found.
  ProcessSpec shell(const std::string& script) {
    ProcessSpec spec;
    spec.argv = {"sh", "-c", script};
    spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin"}};
    spec.work_folder = folder_->path();
    spec.log_file = folder_->path() / "log";
    spec.lock_file = folder_->path() / "lock";
    spec.mark = generate_hex_id();
    spec.namespaces = GetParam();
    return spec;
  }

  std::string log() { return read_file(folder_->path() / "log", 1 << 30).value_or("(no log)"); }
  ProcessResult run(const ProcessSpec& spec) {
    auto result = executor_.run(spec);
    EXPECT_TRUE(result) << result.error().text();
    return result.value_or(ProcessResult{});
  }
  // Waits until `path` exists: the program has come that far.
  void await(const std::string& name) {
    for (int i = 0; i < 2'000 && !std::filesystem::exists(folder_->path() / name); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_TRUE(std::filesystem::exists(folder_->path() / name)) << log();
  }

  const Executor executor_;
  std::optional<TemporaryFolder> folder_;
};

TEST_P(ExecutorTest, RunsAndTellsTheExitCode) {
  EXPECT_TRUE(run(shell("echo out; echo err >&2; echo more")).succeeded());
  EXPECT_EQ(log(), "out\nerr\nmore\n");
  const ProcessSpec failing = shell("exit 7");
  const ProcessResult result = run(failing);
  EXPECT_EQ(result.exit_code, 7);
  EXPECT_FALSE(result.succeeded());
  EXPECT_EQ(describe(result, failing), "It exited with code 7.");
}

TEST_P(ExecutorTest, ArgumentsReachTheProgramUntouchedByAnyShell) {
  ProcessSpec spec = shell("");
  spec.argv = {"printf", "%s\\n", "$(touch pwned); `id` ${HOME} * \"'", ""};
  EXPECT_TRUE(run(spec).succeeded());
  EXPECT_EQ(log(), "$(touch pwned); `id` ${HOME} * \"'\n\n");
  EXPECT_FALSE(std::filesystem::exists(folder_->path() / "pwned"));
}

TEST_P(ExecutorTest, InheritsNeitherEnvironmentNorFilesNorStandardInput) {
  ::setenv("TIDEMILL_SECRET_OF_THE_SERVER", "x", 1);
  const FileDescriptor open_file(::open("/etc/passwd", O_RDONLY));  // without O_CLOEXEC, as some libraries do it
  ProcessSpec spec = shell("env; cat; ls -l /proc/self/fd | wc -l; pwd");
  spec.env["ONLY"] = "this";
  EXPECT_TRUE(run(spec).succeeded());
  EXPECT_EQ(log().find("SECRET"), std::string::npos);
  EXPECT_NE(log().find("ONLY=this"), std::string::npos);
  EXPECT_NE(log().find("\n5\n"), std::string::npos) << "total line, 0, 1, 2 and the folder being listed:\n" << log();
  EXPECT_NE(log().find(folder_->path().string()), std::string::npos);
}

TEST_P(ExecutorTest, RefusesWhatCannotBeRun) {
  ProcessSpec spec = shell("");
  spec.argv = {};
  EXPECT_EQ(executor_.run(spec).error().reason, "jobs.no_program");
  spec.argv = {"echo", std::string("a\0b", 3)};
  EXPECT_EQ(executor_.run(spec).error().reason, "jobs.nul_in_argument");
  spec = shell("");
  spec.env["A=B"] = "x";
  EXPECT_EQ(executor_.run(spec).error().reason, "jobs.bad_environment");
}

TEST_P(ExecutorTest, NamesAProgramThatDoesNotExistOrMayNotRun) {
  ProcessSpec spec = shell("");
  spec.argv = {"no-such-program-here"};
  EXPECT_NE(run(spec).error.find("'no-such-program-here' could not be started: No such file"), std::string::npos);
  std::ofstream(folder_->path() / "plain") << "not a program";
  spec.argv = {folder_->path() / "plain"};
  EXPECT_NE(run(spec).error.find("Permission denied"), std::string::npos);
  spec.argv = {"true"};
  spec.work_folder = folder_->path() / "missing";
  EXPECT_FALSE(run(spec).error.empty());
}

TEST_P(ExecutorTest, ProgramsOfTheWorkFolderAreNotFoundByName) {
  std::ofstream(folder_->path() / "planted") << "#!/bin/sh\nexit 0\n";
  std::filesystem::permissions(folder_->path() / "planted", std::filesystem::perms::owner_all);
  ProcessSpec spec = shell("");
  spec.argv = {"planted"};
  spec.env["PATH"] = "::.:/bin";
  EXPECT_FALSE(run(spec).error.empty());
}

TEST_P(ExecutorTest, EndsAProgramThatHangs) {
  ProcessSpec spec = shell("sleep 1000");
  spec.time_limit_ms = 100;
  const ProcessResult result = run(spec);
  EXPECT_EQ(result.killed_for, KillReason::time_limit);
  EXPECT_EQ(result.signal, SIGTERM);
  EXPECT_LT(result.wall_ms, 5'000);
  EXPECT_EQ(describe(result, spec), "It was ended after its time limit of 0.1 s.");
}

TEST_P(ExecutorTest, KillsWhatIgnoresSigterm) {
  ProcessSpec spec = shell("trap '' TERM; echo ready; while :; do sleep 0.05; done");
  spec.time_limit_ms = 200;
  spec.grace_ms = 200;
  const ProcessResult result = run(spec);
  EXPECT_EQ(result.killed_for, KillReason::time_limit);
  EXPECT_EQ(result.signal, SIGKILL);
  EXPECT_EQ(kill_marked(spec.mark), 0);
}

TEST_P(ExecutorTest, LetsAProgramTidyUpWithinItsGrace) {
  ProcessSpec spec = shell("trap 'echo tidied; exit 3' TERM; echo ready; while :; do sleep 0.02; done");
  spec.time_limit_ms = 300;
  const ProcessResult result = run(spec);
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_EQ(result.killed_for, KillReason::time_limit);
  EXPECT_NE(log().find("tidied\n"), std::string::npos) << log();
}

TEST_P(ExecutorTest, KillsDescendantsThatLeftTheSession) {
  ProcessSpec spec = shell(
      "for i in 1 2 3 4 5 6; do setsid sh -c 'trap \"\" TERM HUP; (setsid sleep 1000 &) ; sleep 1000' & done;"
      " sleep 0.3; exit 0");
  const ProcessResult result = run(spec);
  EXPECT_TRUE(result.succeeded());
  EXPECT_GE(result.leftovers, 12);
  EXPECT_EQ(kill_marked(spec.mark), 0) << "survivors";
}

TEST_P(ExecutorTest, HoldsItsOwnAgainstAProgramThatKeepsForking) {
  // 2,047 processes if nobody stops it, so that a failure of this test does not take the machine down.
  ProcessSpec spec = shell("f() { [ $1 -gt 9 ] && exec sleep 20; f $(($1+1)) & f $(($1+1)) & wait; }; f 0");
  spec.limits.processes = 60;
  const ProcessResult result = run(spec);
  EXPECT_EQ(result.killed_for, KillReason::processes);
  EXPECT_EQ(describe(result, spec), "It was killed for having more than 60 processes.");
  EXPECT_EQ(kill_marked(spec.mark), 0) << "survivors";
}

TEST_P(ExecutorTest, KeepsTheLogWithinItsLimitAndLetsTheProgramFinish) {
  ProcessSpec spec = shell("head -c 100000000 /dev/zero; echo done >finished");
  spec.limits.output_bytes = kMiB;
  const ProcessResult result = run(spec);
  EXPECT_TRUE(result.succeeded());
  EXPECT_TRUE(result.output_truncated);
  EXPECT_EQ(result.output_bytes, 100'000'000);
  EXPECT_LT(log().size(), kMiB + 200);
  EXPECT_NE(log().find("The limit of 1048576 bytes of output is reached"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(folder_->path() / "finished"));
}

TEST_P(ExecutorTest, OutputOfExactlyTheLimitIsWhole) {
  ProcessSpec spec = shell("head -c 1000 /dev/zero");
  spec.limits.output_bytes = 1'000;
  EXPECT_FALSE(run(spec).output_truncated);
  EXPECT_EQ(log().size(), 1'000U);
  spec.argv.back() = "head -c 1001 /dev/zero";
  EXPECT_TRUE(run(spec).output_truncated);
}

TEST_P(ExecutorTest, KillsAFloodWhenThePolicySaysSo) {
  ProcessSpec spec = shell("cat /dev/zero");
  spec.limits.output_bytes = kMiB;
  spec.output_policy = OutputPolicy::kill;
  EXPECT_EQ(run(spec).killed_for, KillReason::output);
}

TEST_P(ExecutorTest, KillsAMemoryHogAndTellsItsSize) {
  ProcessSpec spec = shell("a=x; while :; do a=$a$a; done");
  spec.limits.memory_bytes = 128 * kMiB;
  spec.time_limit_ms = 60'000;
  const ProcessResult result = run(spec);
  EXPECT_EQ(result.killed_for, KillReason::memory);
  EXPECT_GT(result.max_rss_bytes, 128 * kMiB);
}

TEST_P(ExecutorTest, CountsTheMemoryOfAllDescendants) {
  // Each holds some 40 MiB, none of them alone is over the limit.
  ProcessSpec spec =
      shell("for i in 1 2 3 4; do sh -c 'a=$(head -c 40000000 /dev/zero | tr \"\\0\" x); sleep 1000' & done; wait");
  spec.limits.memory_bytes = 100 * kMiB;
  spec.time_limit_ms = 60'000;
  EXPECT_EQ(run(spec).killed_for, KillReason::memory);
}

TEST_P(ExecutorTest, EnforcesTheKernelsLimits) {
  ProcessSpec spec = shell("head -c 3000000 /dev/zero >big; exit 1");
  spec.limits.file_bytes = kMiB;
  run(spec);
  EXPECT_EQ(std::filesystem::file_size(folder_->path() / "big"), static_cast<std::uintmax_t>(kMiB));
  spec = shell("while :; do :; done");
  spec.limits.cpu_s = 1;
  const ProcessResult result = run(spec);
  EXPECT_NE(result.signal, 0);
  EXPECT_GE(result.cpu_ms, 900);
}

TEST_P(ExecutorTest, GivesNoNewPrivilegesAndNoCoreDumps) {
  EXPECT_TRUE(run(shell("grep NoNewPrivs /proc/self/status; ulimit -c; umask")).succeeded());
  EXPECT_EQ(log(), "NoNewPrivs:\t1\n0\n0077\n");
}

TEST_P(ExecutorTest, CancelEndsIt) {
  const ProcessSpec spec = shell("touch ready; sleep 1000");
  auto process = executor_.start(spec);
  ASSERT_TRUE(process);
  await("ready");
  (*process)->cancel();
  EXPECT_EQ((*process)->wait()->killed_for, KillReason::cancelled);
}

TEST_P(ExecutorTest, KillEndsItAtOnceEvenWhenItIgnoresSignals) {
  ProcessSpec spec = shell("trap '' TERM; touch ready; while :; do sleep 0.05; done");
  spec.grace_ms = 600'000;
  auto process = executor_.start(spec);
  ASSERT_TRUE(process);
  await("ready");
  (*process)->kill();
  EXPECT_EQ((*process)->wait()->killed_for, KillReason::cancelled);
  EXPECT_EQ(kill_marked(spec.mark), 0) << "survivors";
}

TEST_P(ExecutorTest, TheLogCanBeReadWhileItGrows) {
  auto process = executor_.start(shell("echo first; touch ready; sleep 1000"));
  ASSERT_TRUE(process);
  await("ready");
  for (int i = 0; i < 400 && log().empty(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(log(), "first\n");
}

// Starts a "server" that runs `spec` and is then killed without any chance to tidy up.
void run_in_a_server_that_dies(const Executor& executor, const ProcessSpec& spec,
                               const std::function<void()>& before_kill) {
  const pid_t server = ::fork();
  ASSERT_GE(server, 0);
  if (server == 0) {
    auto process = executor.start(spec);
    if (process) {
      [[maybe_unused]] auto result = (*process)->wait();
    }
    ::_exit(0);
  }
  before_kill();
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);
}

TEST_P(ExecutorTest, NothingOutlivesAServerThatWasKilled) {
  const ProcessSpec spec =
      shell("(setsid sh -c 'trap \"\" TERM; sleep 1000' &); touch ready; trap '' TERM; while :; do sleep 0.05; done");
  run_in_a_server_that_dies(executor_, spec, [&] { await("ready"); });
  const auto killed = settle_orphans(spec.lock_file, spec.mark, 10'000);
  ASSERT_TRUE(killed) << killed.error().text();
  EXPECT_EQ(*killed, 0) << "the shim should have killed them all before it let the lock go";
}

TEST_P(ExecutorTest, AKilledShimLeavesNothingBehind) {
  const ProcessSpec spec = shell("(setsid sleep 1000 &); touch ready; sleep 1000");
  auto process = executor_.start(spec);
  ASSERT_TRUE(process);
  await("ready");
  ::kill((*process)->shim(), SIGKILL);
  const auto result = (*process)->wait();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().reason, "jobs.shim_died");
  EXPECT_EQ(kill_marked(spec.mark), 0) << "survivors";
}

TEST_P(ExecutorTest, ProgramsGoOnAndNewOnesStartAfterSomebodyKilledTheLauncher) {
  ProcessSpec first = shell("touch ready; while [ ! -e go ]; do sleep 0.01; done; exit 5");
  first.lock_file.clear();
  auto process = executor_.start(first);
  ASSERT_TRUE(process);
  await("ready");
  std::string status = read_file("/proc/" + std::to_string((*process)->shim()) + "/status", 100'000).value();
  status = status.substr(status.find("PPid:") + 5);
  ASSERT_EQ(::kill(std::stoi(status), SIGKILL), 0);
  EXPECT_EQ(run(shell("exit 4")).exit_code, 4);
  std::ofstream(folder_->path() / "go") << "";
  EXPECT_EQ((*process)->wait()->exit_code, 5);
}

TEST_P(ExecutorTest, ASecondAttemptCannotRunBesideTheFirst) {
  const ProcessSpec spec = shell("touch ready; sleep 1000");
  auto process = executor_.start(spec);
  ASSERT_TRUE(process);
  await("ready");
  EXPECT_NE(run(spec).error.find("An earlier attempt still holds"), std::string::npos);
  EXPECT_EQ(settle_orphans(spec.lock_file, "", 50).error().reason, "jobs.orphan_alive");
  (*process)->kill();
  EXPECT_TRUE((*process)->wait());
  EXPECT_TRUE(settle_orphans(spec.lock_file, spec.mark, 5'000));
}

TEST_P(ExecutorTest, ManyAtOnceDoNotHoldEachOthersSockets) {
  std::vector<std::unique_ptr<Process>> processes;
  for (int i = 0; i < 8; ++i) {
    ProcessSpec spec = shell("sleep 1000");
    spec.lock_file.clear();
    processes.push_back(executor_.start(spec).value());
  }
  // Were the first's socket open in a later shim too, it would not see its end.
  const SystemClock clock;
  const std::int64_t begin_ms = clock.steady_ms();
  processes.clear();
  EXPECT_LT(clock.steady_ms() - begin_ms, 5'000);
}

INSTANTIATE_TEST_SUITE_P(Kernels, ExecutorTest, ::testing::Bool(),
                         [](const auto& kernel) { return kernel.param ? "Namespaces" : "Plain"; });

}  // namespace
}  // namespace tidemill::jobs

// The test binary is its own shim, as the server is.
int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == tidemill::jobs::kShimVerb) return tidemill::jobs::run_shim();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
