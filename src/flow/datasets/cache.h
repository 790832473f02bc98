// Parts as Parquet of a schema, made from the blobs and kept while they are right. Private.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/datasets/types.h"
#include "storage/blobs/store.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

// All functions may be called from any thread.
class Cache {
 public:
  // Makes the folder, and removes what a crash left half-made.
  [[nodiscard]] static Result<std::unique_ptr<Cache>> create(std::filesystem::path root, blobs::Store& blobs,
                                                             tables::Tables& tables, const Settings& settings);

  // Returns a name in the cache's folder for a file that is being made; give it to adopt(), or remove it.
  [[nodiscard]] std::filesystem::path temporary(std::string_view extension) const;

  // Takes the file over as what `part` gives under `schema`; returns where it is from now on.
  [[nodiscard]] Result<std::filesystem::path> adopt(const std::filesystem::path& file, const Part& part,
                                                    const std::vector<ColumnType>& schema);

  // Returns the part as Parquet of the schema. Checked against its recorded hash the first time that this process sees
  // it; made anew from the blob when it is not there or not right.
  [[nodiscard]] Result<std::filesystem::path> get(const Part& part, const std::vector<ColumnType>& schema);

 private:
  Cache(std::filesystem::path root, blobs::Store& blobs, tables::Tables& tables, const Settings& settings)
      : root_(std::move(root)), blobs_(blobs), tables_(tables), settings_(settings) {}
  [[nodiscard]] bool is_right(const std::string& key) const;
  [[nodiscard]] Result<void> make(const Part& part, const std::vector<ColumnType>& schema, const std::string& key);
  [[nodiscard]] Result<void> adopt_as(const std::filesystem::path& file, const std::string& key);
  [[nodiscard]] std::filesystem::path path_of(const std::string& key) const {
    return root_ / "parts" / (key + ".parquet");
  }
  [[nodiscard]] std::filesystem::path hash_path_of(const std::string& key) const {
    return root_ / "parts" / (key + ".sha256");
  }

  const std::filesystem::path root_;
  blobs::Store& blobs_;
  tables::Tables& tables_;
  const Settings settings_;

  std::mutex making_mutex_;  // held while one part is made
  std::mutex mutex_;
  std::set<std::string> right_;  // keys that were found right; guarded by mutex_
};

// Returns the SHA-256 of a file as hex digits.
[[nodiscard]] Result<std::string> hash_file(const std::filesystem::path& file);

}  // namespace tidemill::datasets
