// Files that arrive in parts, in any order and at once, and become one artefact when all are there.
//
// Parts lie in a folder of this server and are no facts: what is acknowledged of a part is that it arrived. They end
// with the process; whoever completes an upload after a restart is told that it is unknown, and sends the file again.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "access/types.h"
#include "base/result.h"
#include "flow/runs/runs.h"

namespace tidemill::runs {

struct UploadPart {
  std::int64_t number = 0;  // from 1
  std::string tag;          // as put_part answered it; "" = not to be compared
};

// Thread-safe.
class Uploads {
 public:
  // Parts lie beneath `folder`, which must exist; what an earlier process left there is removed. `runs` must outlive
  // this.
  Uploads(Runs& runs, std::filesystem::path folder);

  // Begins an upload of `parts` parts to the artefact `path` and returns its id. kInvalidArgument for a path that no
  // artefact may have or a number of parts outside [1, upload_parts_max]; kExhausted past uploads_open_max. Uploads
  // that nobody touched for upload_idle_ms_max are dropped.
  [[nodiscard]] Result<std::string> begin(const access::Actor& actor, std::string_view path, std::int64_t parts);
  // Takes `file` away as a part and returns its tag, the SHA-256 of its bytes. A part that came before is replaced.
  // kNotFound for an upload that does not exist or was begun by somebody else.
  [[nodiscard]] Result<std::string> put_part(const access::Actor& actor, const std::string& id, std::int64_t number,
                                             const std::filesystem::path& file);
  // Joins the parts and returns once the artefact is durable. kInvalidArgument when one of them is missing, differs
  // from its tag, or `path` is not the one of `begin`; the upload is then as it was.
  [[nodiscard]] Result<void> complete(const access::Actor& actor, const std::string& id, std::string_view path,
                                      const std::vector<UploadPart>& parts);
  // Drops an upload and its parts.
  [[nodiscard]] Result<void> abort(const access::Actor& actor, const std::string& id, std::string_view path);

 private:
  struct Upload {
    std::string path;
    std::string by;
    std::int64_t parts = 0;
    std::int64_t touched_ms = 0;               // of the steady clock
    std::map<std::int64_t, std::string> tags;  // of the parts that are there
    bool busy = false;                         // being completed
  };

  [[nodiscard]] std::filesystem::path folder_of(const std::string& id) const { return folder_ / ("mpu-" + id); }
  // Returns the upload of this person; mutex_ must be held.
  [[nodiscard]] Result<Upload*> find(const access::Actor& actor, const std::string& id);
  void drop_idle();  // mutex_ must be held
  [[nodiscard]] Result<void> join(const std::string& id, const Upload& upload,
                                  const std::filesystem::path& whole) const;

  Runs& runs_;
  const std::filesystem::path folder_;

  std::mutex mutex_;
  std::map<std::string, Upload> uploads_;  // by id; guarded by mutex_
};

}  // namespace tidemill::runs
