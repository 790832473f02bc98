#include "jobs/sandbox.h"

#include <fmt/format.h>

#include <string_view>
#include <system_error>

#include "base/files.h"
#include "jobs/executor.h"

namespace tidemill::jobs {
namespace {

constexpr std::int64_t kTrialMsMax = 10'000;

// Returns why `way` does not work; "" when it does. What is run is our own binary, which exists for certain; started as
// a shim without its socket it ends at once.
std::string trouble_with(SandboxWay way, const Executor& executor, const std::filesystem::path& folder,
                         const std::filesystem::path& work_folder) {
  ProcessSpec spec;
  spec.argv = {"/proc/self/exe", std::string(kShimVerb)};
  spec.work_folder = work_folder;
  spec.time_limit_ms = kTrialMsMax;
  spec.sandbox = {.way = way, .hidden = {folder}, .network = false};
  const auto result = executor.run(spec);
  return result ? result->error : result.error().message;
}

}  // namespace

SandboxFound find_sandbox(const Executor& executor, const std::filesystem::path& folder) {
  const std::filesystem::path work_folder = folder / "trial";
  if (auto made = make_folder(work_folder); !made) return {SandboxWay::none, made.error().message};
  SandboxFound found;
  for (const auto& [way, name] :
       {std::pair(SandboxWay::mounts, "mounts"), std::pair(SandboxWay::landlock, "landlock")}) {
    const std::string trouble = trouble_with(way, executor, folder, work_folder);
    if (trouble.empty()) {
      found.way = way;
      break;
    }
    found.why += fmt::format("{}{}: {}", found.why.empty() ? "" : " ", name, trouble);
  }
  std::error_code ignored;  // an empty folder that stays harms nobody
  std::filesystem::remove(work_folder, ignored);
  return found;
}

}  // namespace tidemill::jobs
