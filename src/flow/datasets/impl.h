// What the functions of this room share. Private.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "flow/datasets/cache.h"
#include "flow/datasets/datasets.h"

namespace tidemill::datasets {

class Datasets::Impl {
 public:
  sql::Database& database;
  events::Events& events;
  const Clock& clock;
  blobs::Store& blobs;
  tables::Tables& tables;
  const Settings settings;
  const std::unique_ptr<Cache> cache;

  std::mutex mutex;
  std::map<std::string, std::shared_ptr<std::mutex>, std::less<>>
      locks;  // guarded by mutex; one a dataset, kept for good

  // A dataset's lock, held; the mutex lives as long as this does.
  struct Held {
    std::shared_ptr<std::mutex> mutex;
    std::unique_lock<std::mutex> lock;
  };
  // Makes uploads to one dataset wait for each other, so that the second is judged against the first instead of
  // failing.
  [[nodiscard]] Held lock_dataset(std::string_view name) {
    std::shared_ptr<std::mutex> own;
    {
      const std::lock_guard guard(mutex);
      auto& slot = locks[std::string(name)];
      if (!slot) slot = std::make_shared<std::mutex>();
      own = slot;
    }
    return {own, std::unique_lock(*own)};
  }

  // Returns the version's parts as Parquet files, in order.
  [[nodiscard]] Result<std::vector<std::filesystem::path>> files_of(const Version& version) const {
    std::vector<std::filesystem::path> files;
    for (const Part& part : version.parts) files.push_back(TM_TRY(cache->get(part, version.schema)));
    return files;
  }
};

}  // namespace tidemill::datasets
