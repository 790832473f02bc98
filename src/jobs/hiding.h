// How a sandbox comes about between fork and exec (see sandbox.h). Private to jobs; used by launch.cc alone.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "jobs/sandbox.h"

namespace tidemill::jobs {

// Worked out in the shim, before the fork; the rest runs in the child. Errors are errno values: 0 is success. The shim
// has one thread, so its children may allocate.
class Hiding {
 public:
  Hiding() = default;  // hides nothing

  // kInvalidArgument when the work folder, or what may be read, is a whole hidden folder.
  [[nodiscard]] static Result<Hiding> plan(const Sandbox& sandbox, const std::string& work_folder);

  // With SandboxWay::mounts: covers what is hidden. For a process with a mount namespace of its own whose changes go
  // nowhere else, and the capabilities to mount.
  [[nodiscard]] int cover() const;

  // The last before exec: with SandboxWay::landlock the rules; with every way but none no capability is left.
  [[nodiscard]] int shut() const;

 private:
  struct Kept {
    std::string path;
    bool writable = false;
    bool folder = true;
  };
  struct Hidden {
    std::string folder;
    std::vector<Kept> kept;
  };
  [[nodiscard]] int cover_folder(const Hidden& hidden) const;
  [[nodiscard]] int protect_machine() const;
  [[nodiscard]] int restrict_by_landlock() const;
  void allow_beneath(int ruleset, const std::string& folder) const;
  [[nodiscard]] bool is_hidden(const std::string& path) const;
  [[nodiscard]] bool leads_to_hidden(const std::string& folder) const;

  SandboxWay way_ = SandboxWay::none;
  bool network_ = true;
  bool root_ = false;
  std::vector<Hidden> hidden_;
  std::vector<std::string> dangers_;  // files by which root without capabilities would get at everything
};

}  // namespace tidemill::jobs
