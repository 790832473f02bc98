// Starts a program so that it can be ended for certain. Private to jobs; used by the shim alone.
//
// Where the kernel allows it, the program gets a process namespace of its own, whose first process ("init") is ours:
// when init is killed, the kernel kills every process of the namespace in one step and lets no new one begin, which no
// fork bomb outruns. Elsewhere the shim, as subreaper, hunts the descendants down by process group.
#pragma once

#include <sys/types.h>

#include "base/files.h"
#include "base/result.h"
#include "jobs/executor.h"

namespace tidemill::jobs {

// How the program ended, as init tells it.
struct Ending {
  int status = 0;  // as of waitpid
  std::int64_t max_rss_bytes = 0;
  std::int64_t cpu_ms = 0;
};

struct Launched {
  pid_t root = -1;          // the shim's child: init, or the program itself
  bool namespaced = false;  // root is init
  FileDescriptor output;    // what the program writes to stdout and stderr; does not block
  FileDescriptor endings;   // of init: one Ending; then end of stream
};

// Starts spec.argv. kNotFound, reason "jobs.not_executable", when the program cannot be executed; kUnavailable,
// "jobs.no_sandbox", when spec.sandbox cannot be had. Call from a process with one thread.
[[nodiscard]] Result<Launched> launch(const ProcessSpec& spec);

}  // namespace tidemill::jobs
