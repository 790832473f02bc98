// One upload on its way to a version. Private.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/datasets/impl.h"
#include "flow/datasets/types.h"

namespace tidemill::datasets {

// Nothing is kept before everything is known to be good: the upload is read, converted and judged first, then its bytes
// are put into the blob store, then row and event are committed together. A crash in between leaves bytes that nobody
// names.
class Adding {
 public:
  Adding(Datasets::Impl& impl, const access::Actor& actor, const Upload& upload)
      : impl_(impl), actor_(actor), upload_(upload) {}
  ~Adding();
  Adding(const Adding&) = delete;
  Adding& operator=(const Adding&) = delete;

  [[nodiscard]] Result<Version> run(std::string_view name);

 private:
  [[nodiscard]] Result<void> look_up(std::string_view name);
  [[nodiscard]] bool is_repetition() const;
  [[nodiscard]] Result<void> convert();
  [[nodiscard]] Result<void> judge_rows();
  [[nodiscard]] Result<void> keep();
  [[nodiscard]] Result<void> commit();
  [[nodiscard]] Result<Version> refused(Error error);
  [[nodiscard]] bool appending() const { return upload_.mode == Mode::append && before_.has_value(); }

  Datasets::Impl& impl_;
  const access::Actor& actor_;
  const Upload& upload_;

  Dataset dataset_;
  std::optional<Version> before_;  // the newest version so far
  Part part_;
  std::filesystem::path transcoded_;                 // the upload as UTF-8, when it is not
  std::filesystem::path converted_;                  // the upload as Parquet, while it is not the cache's
  std::vector<std::filesystem::path> files_before_;  // of the version before, when appending
  Version version_;
};

}  // namespace tidemill::datasets
