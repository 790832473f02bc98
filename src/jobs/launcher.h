// The server's end of the process that forks shims. Private to jobs.
//
// To execute a binary of our size costs more than ten milliseconds of processor time, nearly all of it in the dynamic
// linker. So it is executed once, stays small and idle as it was after its start, and forks a shim for every program: a
// fraction of a millisecond.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/result.h"

namespace tidemill::jobs {

// Any thread.
class Launcher {
 public:
  explicit Launcher(std::vector<std::string> command) : command_(std::move(command)) {}
  ~Launcher();  // ends the process; shims go on until their own sockets end
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // Has a shim forked that takes `socket` for its own. Starts the process when there is none, also when somebody killed
  // the last one.
  [[nodiscard]] Result<void> fork_shim(int socket);

  // Ends the process, if there is one; the next fork_shim starts another. Shims go on. Any thread.
  void renew();

 private:
  [[nodiscard]] Result<void> start();
  void end();

  const std::vector<std::string> command_;

  std::mutex mutex_;
  FileDescriptor socket_;  // guarded by mutex_
  pid_t pid_ = -1;         // guarded by mutex_
};

}  // namespace tidemill::jobs
