// What is known of every prediction without reading a file: who answered it, when, and its label. Private to this room.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "flow/predictions/records.h"
#include "flow/predictions/types.h"

namespace tidemill::predictions {

// An id as 128 bits of XXH3: equal ids always meet, different ones practically never (2^-64 at four billion ids).
struct IdKey {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const IdKey&) const = default;
};
[[nodiscard]] IdKey key_of(std::string_view id);

// All functions may be called from any thread.
class Ledger {
 public:
  // Takes a durable batch. A row whose id was answered before, or shadowed before by the same version, is dropped: a
  // request that is sent again after a lost answer counts once.
  void add(std::uint64_t file, Batch batch);
  // Takes rows that were sealed into a segment in an earlier life: like add, but they are not kept in memory.
  void add_sealed(const std::string& deployment, std::string_view id, std::int64_t version, Role role,
                  std::int64_t at_ms);
  void add(const LabelBatch& labels);

  // Returns whether an id has been served.
  [[nodiscard]] bool has(const std::string& deployment, std::string_view id) const;
  [[nodiscard]] std::optional<std::int64_t> label(const std::string& deployment, std::string_view id) const;
  // Returns at_ms of a served id.
  [[nodiscard]] std::optional<std::int64_t> at_ms(const std::string& deployment, std::string_view id) const;
  // Returns the labels of many ids in one go; -1 where none is known.
  [[nodiscard]] std::vector<std::int8_t> labels(const std::string& deployment,
                                                const std::vector<std::string>& ids) const;
  [[nodiscard]] Stats stats(const std::string& deployment) const;
  [[nodiscard]] std::vector<std::string> deployments() const;

  // Returns the batches of a deployment that no segment holds yet, oldest first.
  [[nodiscard]] std::vector<std::shared_ptr<const Batch>> open_batches(const std::string& deployment) const;
  // Returns all batches of a journal file, and its labels.
  struct FileContent {
    std::vector<std::shared_ptr<const Batch>> batches;
    std::vector<LabelBatch> labels;
  };
  [[nodiscard]] FileContent content(std::uint64_t file) const;
  // Forgets the rows of a file that was sealed; what is known of each id stays.
  void drop(std::uint64_t file);
  void keep_labels(std::uint64_t file, const LabelBatch& labels);

 private:
  struct KeyHash {
    std::size_t operator()(const IdKey& key) const noexcept { return key.low; }
  };
  struct Served {
    std::int64_t at_ms = 0;
    std::int64_t version = 0;
    Role role = Role::champion;
  };
  using CountKey = std::pair<std::int64_t, Role>;
  struct Book {
    std::unordered_map<IdKey, Served, KeyHash> served;
    std::unordered_map<IdKey, std::int8_t, KeyHash> labels;
    std::map<std::int64_t, std::unordered_set<IdKey, KeyHash>> shadowed;  // ids by version of the shadow
    std::map<CountKey, VersionCount> counts;
    std::int64_t labelled = 0;
    std::int64_t first_ms = 0;
    std::int64_t watermark_ms = 0;
  };
  // Returns whether the row is new.
  static bool enter(Book& book, std::string_view id, std::int64_t version, Role role, std::int64_t at_ms);

  mutable std::mutex mutex_;
  std::map<std::string, Book, std::less<>> books_;  // by deployment; guarded by mutex_
  std::map<std::uint64_t, FileContent> files_;      // journal files not sealed yet; guarded by mutex_
};

}  // namespace tidemill::predictions
