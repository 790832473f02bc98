#include "jobs/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/enums.h"
#include "base/files.h"
#include "jobs/executor.h"

namespace tidemill::jobs {
namespace {

struct Case {
  SandboxWay way = SandboxWay::none;
  bool namespaces = true;
};

// A data folder as a server has it, and a program whose work folder lies deep within. The server's process, which is
// this one, holds the folder open and works in it.
class SandboxTest : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    data_ = std::filesystem::canonical(parent_.path()) / "data";
    work_ = data_ / "pipelines/work/run/step.1";
    std::filesystem::create_directories(work_ / "inputs");
    std::filesystem::create_directories(data_ / "cache");
    write(data_ / "tidemill.db", "the database");
    write(data_ / "cache/model", "the model");
    write(work_ / "inputs/rows.csv", "a,b");
    write(parent_.path() / "neighbour", "not the server's");
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(data_);
    folder_ = FileDescriptor(::open(data_.c_str(), O_RDONLY | O_DIRECTORY));
  }
  void TearDown() override { std::filesystem::current_path(before_); }

  static void write(const std::filesystem::path& path, std::string_view text) { std::ofstream(path) << text; }

  ProcessSpec shell(const std::string& script) {
    ProcessSpec spec;
    spec.argv = {"sh", "-c", script};
    spec.env = {{"PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"},
                {"DATA", data_},
                {"DB", data_ / "tidemill.db"},
                {"NEIGHBOUR", parent_.path() / "neighbour"},
                {"SERVER", std::to_string(::getpid())}};
    spec.work_folder = work_;
    spec.log_file = parent_.path() / "log";
    spec.time_limit_ms = 60'000;
    spec.namespaces = GetParam().namespaces;
    spec.sandbox = {.way = GetParam().way, .hidden = {data_, "/no/such/folder"}};
    return spec;
  }

  // Runs it and returns what it printed.
  std::string run(const ProcessSpec& spec) {
    std::filesystem::remove(parent_.path() / "log");
    const auto result = executor_.run(spec);
    EXPECT_TRUE(result) << result.error().text();
    EXPECT_EQ(result.value_or(ProcessResult{}).error, "");
    return text_of(parent_.path() / "log");
  }
  static std::string text_of(const std::filesystem::path& path) {
    return read_file(path, 1 << 20).value_or("(no such file)");
  }

  const TemporaryFolder parent_ = TemporaryFolder::create().value();
  const Executor executor_;
  std::filesystem::path data_;
  std::filesystem::path work_;
  std::filesystem::path before_;
  FileDescriptor folder_;
};

// Every way in that we know of. Each prints REACHED when it leads somewhere.
constexpr const char* kAttacks = R"(
try() { name=$1; shift; "$@" >/dev/null 2>&1 && echo "REACHED $name"; }
try path cat "$DB"
try write sh -c 'echo x >>"$DB"'
try relative cat ../../../../tidemill.db
ln -s "$DB" link; try symlink cat link
try hard-link ln "$DB" mine
try new-file sh -c 'echo x >"$DATA/new"'
try move mv "$DATA/cache" .
try remove rm -f "$DATA/tidemill.db-wal" "$DATA/cache/model"
try truncate truncate -s 0 "$DB"
try list sh -c 'ls "$DATA" | grep -q tidemill.db'
for p in $PPID $SERVER 1 self $$; do
  try "root of $p" cat "/proc/$p/root$DB"
  try "cwd of $p" cat "/proc/$p/cwd/tidemill.db"
  try "environment of $p" sh -c "tr '\\0' '\\n' </proc/$p/environ | grep -q OF_THE_SERVER"
  for f in /proc/$p/fd/*; do try "descriptor $f" cat "$f/tidemill.db"; done
done
try unmount sh -c 'umount "$DATA"; umount -l "$DATA"; cat "$DB"'
try remount sh -c 'mount -o remount,rw "$DATA"; echo x >"$DATA/new"'
try namespace unshare --user --map-root-user --mount sh -c 'umount -l "$DATA"; umount -l /proc; cat "$DB"'
try enter nsenter --target "$SERVER" --mount cat "$DB"
for p in 1 $PPID $SERVER; do try "enter $p" nsenter --target "$p" --mount --user cat "$DB"; done
try chroot chroot "/proc/$SERVER/root" cat "$DB"
)";

TEST_P(SandboxTest, NoWayLeadsToTheServersFiles) {
  ::setenv("OF_THE_SERVER", "x", 1);
  const std::string said = run(shell(kAttacks));
  const std::string database = text_of(data_ / "tidemill.db");
  if (GetParam().way == SandboxWay::none) {  // the attacks are real: without a sandbox they succeed
    for (const auto* name : {"path", "write", "relative", "symlink", "hard-link", "move", "truncate", "root of self"}) {
      EXPECT_NE(said.find(std::string("REACHED ") + name), std::string::npos) << name << "\n" << said;
    }
    return;
  }
  // rm -f says that what does not exist is removed; that nothing was is checked below.
  EXPECT_EQ(said, GetParam().way == SandboxWay::mounts ? "REACHED remove\n" : "");
  EXPECT_EQ(database, "the database");
  EXPECT_EQ(text_of(data_ / "cache/model"), "the model");
  EXPECT_FALSE(std::filesystem::exists(data_ / "new"));
  EXPECT_EQ(std::filesystem::hard_link_count(data_ / "tidemill.db"), 1);
}

TEST_P(SandboxTest, ItsOwnFilesWorkAndSoDoesTheRestOfTheMachine) {
  const std::string said = run(shell(R"(set -e
    cat inputs/rows.csv; pwd
    mkdir -p outputs/deep; echo result >outputs/deep/file; mv outputs/deep/file outputs/moved; rm -r outputs/deep
    cp inputs/rows.csv "$DATA/pipelines/work/run/step.1/copy"
    cat "$NEIGHBOUR"; ls /usr/bin >/dev/null; head -c 1 /dev/urandom >/dev/null; echo x >/dev/null
    test -e /proc/self/stat; sh -c 'kill -0 $PPID'
    if ! : >>/dev/shm/x-$$; then exit 1; fi; rm -f /dev/shm/x-$$
    echo; echo done)"));
  EXPECT_EQ(said, "a,b" + work_.string() + "\nnot the server's\ndone\n");
  EXPECT_EQ(text_of(work_ / "outputs/moved"), "result\n");
  EXPECT_EQ(text_of(work_ / "copy"), "a,b");
}

TEST_P(SandboxTest, WhatIsReadableCanBeReadAndNotWritten) {
  if (GetParam().way == SandboxWay::none) return;
  std::filesystem::create_directories(data_ / "venv/bin");
  std::filesystem::copy_file("/bin/echo", data_ / "venv/bin/tool");
  ProcessSpec spec = shell(R"(cat "$DATA/cache/model"; "$DATA/venv/bin/tool" " run"
    (echo x >>"$DATA/cache/model") 2>/dev/null || echo kept
    (echo x >>"$DATA/venv/new") 2>/dev/null || echo kept
    cat "$DB" 2>/dev/null || echo hidden; echo own >own)");
  spec.sandbox.readable = {data_ / "cache/model", data_ / "venv", data_ / "missing"};
  EXPECT_EQ(run(spec), "the model run\nkept\nkept\nhidden\n");
  EXPECT_EQ(text_of(work_ / "own"), "own\n");
}

TEST_P(SandboxTest, NoCapabilityIsLeftAndNoneComesBack) {
  if (GetParam().way == SandboxWay::none) return;
  EXPECT_EQ(run(shell("sh -c 'grep -E \"Cap(Inh|Prm|Eff|Amb)\" /proc/self/status | tr -d \"\\t0\"'")),
            "CapInh:\nCapPrm:\nCapEff:\nCapAmb:\n");
}

TEST_P(SandboxTest, RootReachesNeitherDisksNorTheKernelsSwitches) {
  if (::geteuid() != 0 || GetParam().way == SandboxWay::none) GTEST_SKIP() << "for root in a sandbox";
  EXPECT_EQ(run(shell(R"(
    for disk in /dev/*; do
      [ -b "$disk" ] && head -c 1 "$disk" 2>/dev/null | grep -q . && echo "REACHED $disk"
    done
    for switch in /proc/sys/kernel/core_pattern /sys/kernel/uevent_helper /sys/power/state; do
      [ -e "$switch" ] && (: >>"$switch") 2>/dev/null && echo "REACHED $switch"
    done
    mknod disk b 7 0 2>/dev/null && echo REACHED mknod
    exit 0)")),
            "");
}

TEST_P(SandboxTest, ASymbolicLinkToTheFolderIsNoWayAround) {
  if (GetParam().way == SandboxWay::none) return;
  std::filesystem::create_directory_symlink(data_, parent_.path() / "alias");
  ProcessSpec spec = shell(R"(cat "$DB" 2>/dev/null || echo hidden; cat "$ALIAS/tidemill.db" 2>/dev/null || echo hidden
    cat inputs/rows.csv)");
  spec.env["ALIAS"] = parent_.path() / "alias";
  spec.sandbox.hidden = {parent_.path() / "alias"};
  spec.work_folder = parent_.path() / "alias/pipelines/work/run/step.1";
  EXPECT_EQ(run(spec), "hidden\nhidden\na,b");
}

TEST_P(SandboxTest, WithoutNetworkNobodyIsReached) {
  if (GetParam().way != SandboxWay::mounts) return;
  ProcessSpec spec = shell("tail -n +3 /proc/net/dev | grep -v '^ *lo:' | wc -l");
  spec.sandbox.network = false;
  EXPECT_EQ(run(spec), "0\n");
}

INSTANTIATE_TEST_SUITE_P(Ways, SandboxTest,
                         ::testing::Values(Case{SandboxWay::none, true}, Case{SandboxWay::mounts, true},
                                           Case{SandboxWay::landlock, true}, Case{SandboxWay::landlock, false}),
                         [](const auto& one) {
                           return std::string(enum_name(one.param.way)) + (one.param.namespaces ? "" : "Plain");
                         });

TEST(Sandbox, IsNotStartedWithoutWhatItAsksFor) {
  const TemporaryFolder folder = TemporaryFolder::create().value();
  std::filesystem::create_directory(folder.path() / "work");
  const Executor executor;
  ProcessSpec spec;
  spec.argv = {"sh", "-c", "touch ran"};
  spec.work_folder = folder.path() / "work";
  spec.sandbox = {.way = SandboxWay::mounts, .hidden = {folder.path()}};
  spec.namespaces = false;
  EXPECT_NE(executor.run(spec)->error.find("'sh' could not be shut off from the server's own files"),
            std::string::npos);
  spec.namespaces = true;
  spec.work_folder = folder.path();  // hidden and shown at once
  EXPECT_NE(executor.run(spec)->error.find("cannot be hidden and shown at once"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "work/ran"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "ran"));
}

TEST(Sandbox, IsFoundByTryingAndLeavesNothing) {
  const TemporaryFolder folder = TemporaryFolder::create().value();
  const Executor executor;
  const SandboxFound found = find_sandbox(executor, folder.path());
  EXPECT_TRUE(found.way != SandboxWay::none || !found.why.empty());
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace tidemill::jobs
