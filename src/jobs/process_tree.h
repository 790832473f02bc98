// The descendants of a process, read from /proc. Private to jobs. Linux only.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace tidemill::jobs {

// Returns the ids of the living descendants of `root`, parents before children, and stops once there are `count_max`:
// thousands take long to list. While they fork it may miss some: ask again.
[[nodiscard]] std::vector<pid_t> descendants(pid_t root, std::size_t count_max = static_cast<std::size_t>(-1));

// Returns the memory in use by `pids` together, in bytes: resident sets summed, or, when that sum is past
// `limit_bytes`, proportional sets, in which a page shared by n processes counts 1/n to each. The first is cheap and
// too high for a family of forks, the second exact.
[[nodiscard]] std::int64_t memory_bytes(const std::vector<pid_t>& pids, std::int64_t limit_bytes);

// Sends SIGKILL to every process whose environment holds TIDEMILL_MARK=`mark`, but never to the caller; repeats until
// there is none. Returns how many.
int kill_marked(std::string_view mark);

}  // namespace tidemill::jobs
