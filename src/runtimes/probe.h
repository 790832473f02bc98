// The first load of a model happens in a process that may die.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "jobs/executor.h"
#include "runtimes/types.h"

namespace tidemill::runtimes {

// The hidden verb by which our own program is started again as a probe.
constexpr const char* kProbeVerb = "__probe";

struct ProbeLimits {
  std::int64_t time_ms_max = 20'000;
  std::uint64_t memory_bytes_max = 4ull << 30;  // address space, the library's own mappings included
};

// What the probe saw.
struct Probe {
  std::vector<TensorInfo> inputs;
  std::vector<TensorInfo> outputs;
  std::optional<ScoreRule> score_rule;  // absent when the model gives no scores by Session::score's rule
  std::string score_problem;            // why
  std::int64_t columns = 0;
};
BOOST_DESCRIBE_STRUCT(Probe, (), (inputs, outputs, score_rule, score_problem, columns))

class Prober {
 public:
  // `program` is the binary whose main() calls probe_main() for the verb kProbeVerb: our own by default. `library` as
  // for Runtime::create. `sandbox` is what every probe is shut in: of what it hides, a probe sees the library and the
  // model alone, and it has no network. `executor` must outlive this.
  Prober(const jobs::Executor& executor, std::filesystem::path library,
         std::filesystem::path program = "/proc/self/exe", ProbeLimits limits = {}, FileLimits files = {},
         jobs::Sandbox sandbox = {});

  // Inspects the file here, then loads it in a process of its own with limits on time and memory and scores two rows of
  // zeros there when it is a matrix model. Returns what the model says of itself; kInvalidArgument, reason
  // "runtimes.model_invalid", when it cannot be loaded, kills the probe, or runs into a limit: the message says which.
  // Waits for the probe; any thread.
  [[nodiscard]] Result<Probe> accept(const std::filesystem::path& model) const;

  // Kills the probes that run; they and all later ones are kUnavailable, reason "runtimes.stopping". Any thread.
  void stop() const;

 private:
  [[nodiscard]] Result<jobs::ProcessResult> run(const jobs::ProcessSpec& spec) const;

  const jobs::Executor& executor_;
  const std::filesystem::path library_;
  const std::filesystem::path program_;
  const ProbeLimits limits_;
  const FileLimits files_;
  const jobs::Sandbox sandbox_;

  mutable std::mutex mutex_;
  mutable std::set<jobs::Process*> running_;  // guarded by mutex_, as the next
  mutable bool stopping_ = false;
};

// The probe's side: `PROGRAM __probe LIBRARY MODEL REPORT MEMORY_BYTES` loads the model and writes what it saw, or why
// it cannot be loaded, as JSON to the file REPORT. Returns the exit code of the process: 0 also for a model that is
// refused in good order. For main() when argv[1] is kProbeVerb.
[[nodiscard]] int probe_main(int argc, char** argv);

}  // namespace tidemill::runtimes
