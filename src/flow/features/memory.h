// The rows of one source in memory, grouped by key: what both training and online values are computed from. Private to
// the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "flow/features/convert.h"
#include "flow/features/plan.h"
#include "flow/features/series.h"

namespace tidemill::features {

// Any number of threads may read while none writes.
class SourceMemory {
 public:
  // `plan` must outlive it.
  explicit SourceMemory(const SourcePlan& plan);
  SourceMemory(SourceMemory&&) = default;

  // Adds rows; a row of an id and knowledge time that are there replaces that one. Rows that never become known (no
  // knowledge time) are left out. kInvalidArgument, with nothing added, for columns that do not fit (TypedColumns::of)
  // and numbers that cannot be summed: infinite, or beyond kSumValueMax.
  [[nodiscard]] Result<void> add(const tables::Frame& rows);

  // Drops rows that became known before `known_ms`; from then on complete_from_ms() is at least that.
  void drop_before(std::int64_t known_ms);

  // Returns the rows of a key, as key_of() writes it, or null.
  [[nodiscard]] const Series* find(std::size_t group, std::string_view key) const;
  [[nodiscard]] const std::string& text(std::uint64_t index) const { return texts_[index]; }

  [[nodiscard]] std::size_t rows() const { return versions_.size(); }
  [[nodiscard]] std::int64_t newest_known_ms() const { return newest_known_ms_; }  // the minimum: none
  [[nodiscard]] std::int64_t complete_from_ms() const { return complete_from_ms_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
  };
  struct IdHash {
    std::size_t operator()(const RowId& id) const noexcept { return id.low; }
  };
  using ByKey = std::unordered_map<std::string, std::unique_ptr<Series>, Hash, std::equal_to<>>;

  struct Group {
    Series::Layout layout;
    ByKey series;
  };
  // One version of a row. Versions of an id are a chain from the newest to the oldest; nearly all are alone.
  struct Version {
    std::int64_t known_ms = 0;
    std::uint32_t earlier = kNoVersion;  // index into versions_
  };
  static constexpr std::uint32_t kNoVersion = std::numeric_limits<std::uint32_t>::max();

  struct Keyed;
  void insert(const TypedColumns& columns, const Keyed& keyed);
  [[nodiscard]] std::int64_t event_of(const TypedColumns& columns, const Keyed& keyed) const;
  [[nodiscard]] Series* series_of(std::size_t group, const TypedColumns& columns, std::size_t row);
  [[nodiscard]] std::span<const Cell> cells_of(const GroupPlan& plan, const TypedColumns& columns, std::size_t row);
  [[nodiscard]] std::uint64_t text_index(const std::string& text);
  [[nodiscard]] Series* touched(Series* series);
  void drop_versions_before(std::int64_t known_ms);

  const SourcePlan& plan_;
  std::vector<std::unique_ptr<Group>> groups_;
  std::vector<Version> versions_;
  std::vector<Series*> series_;  // by version and group: where it stands; null: it has no key there
  std::unordered_map<RowId, std::uint32_t, IdHash> newest_;  // by id: index into versions_
  std::vector<std::string> texts_;
  std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>> text_index_;
  std::vector<Series*> touched_;  // to be finished
  std::string key_;               // scratch
  std::vector<Cell> cells_;       // scratch
  std::int64_t newest_known_ms_ = std::numeric_limits<std::int64_t>::min();
  std::int64_t complete_from_ms_ = std::numeric_limits<std::int64_t>::min();
};

// Returns the error that SourceMemory::add would give for these rows.
[[nodiscard]] Result<void> check_rows(const SourcePlan& plan, const tables::Frame& rows);

// Returns the id of a row, from its columns `id`.
[[nodiscard]] RowId row_id(const SourcePlan& plan, const TypedColumns& columns, std::size_t row, std::string& scratch);

// Returns the knowledge time of a row; kForever when it never becomes known.
[[nodiscard]] std::int64_t known_ms(const SourcePlan& plan, const TypedColumns& columns, std::size_t row);

// Writes the key of `columns` (some may be null: missing) in `row` to `out`; returns false when a part is missing: then
// no row matches.
template <class Columns>
[[nodiscard]] bool key_of(const Columns& columns, const std::vector<std::size_t>& parts, std::size_t row,
                          std::string& out) {
  out.clear();
  for (const std::size_t part : parts) {
    const tables::Column* column = columns[part];
    if (column == nullptr || column->is_missing(row)) return false;
    append_key(out, *column, row);
  }
  return true;
}

}  // namespace tidemill::features
