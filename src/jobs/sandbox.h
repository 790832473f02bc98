// Shuts a program off from folders of the server, its own database before all.
//
// A program runs as the server's user, so the modes of files keep nothing from it. Two ways do, each without
// privileges:
//   mounts    the program's own mount namespace has an empty read-only file system over the folder, into which its work
//             folder is bound back (mount_namespaces(7), user_namespaces(7)); nothing of the folder has a name any more
//   landlock  the kernel refuses to open what no rule allows (landlock(7), Linux 6.2 or later); names, sizes and modes
//             can still be looked at and modes changed
// In both the program has no capability, and cannot look into processes that are not its own.
#pragma once

#include <boost/describe.hpp>
#include <filesystem>
#include <string>
#include <vector>

namespace tidemill::jobs {

enum class SandboxWay { none, mounts, landlock };
BOOST_DESCRIBE_ENUM(SandboxWay, none, mounts, landlock)

// Paths are absolute; those that do not exist are passed over.
struct Sandbox {
  SandboxWay way = SandboxWay::none;
  std::vector<std::string> hidden{};    // folders that the program cannot reach, but for its work folder
  std::vector<std::string> readable{};  // files and folders beneath them that it may read and execute
  bool network = true;  // false: none with `mounts`; with `landlock` no TCP where the kernel can (Linux 6.7)
};
BOOST_DESCRIBE_STRUCT(Sandbox, (), (way, hidden, readable, network))

class Executor;

struct SandboxFound {
  SandboxWay way = SandboxWay::none;
  std::string why;  // what each way met that does not work here, for the log
};

// Returns the first way that works on this machine, tried out by launching a program that `folder` is hidden from; a
// folder "trial" is made in it for that, and removed. Takes some tens of milliseconds: for the start of the server.
[[nodiscard]] SandboxFound find_sandbox(const Executor& executor, const std::filesystem::path& folder);

}  // namespace tidemill::jobs
