// The rows of one key, ordered by the time at which they became known. Private to the room.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "flow/features/plan.h"

namespace tidemill::features {

__extension__ typedef __int128 Int128;

// Sums are whole multiples of 2^-56 in 128 bits: exact, so that they depend neither on the order of the rows nor on
// which rows were dropped before, and a running sum of years online equals a batch over one day to the last bit. Values
// up to 2^47 in size (1.4e14) leave room for 2^24 rows in a window; smaller parts than 2^-56 (1.4e-17) are rounded off.
constexpr int kSumBits = 56;
constexpr double kSumValueMax = 140'737'488'355'328.0;

[[nodiscard]] Int128 to_fixed(double value);
[[nodiscard]] double from_fixed(Int128 sum);

// 128 bits of the hash of a row's id (XXH3).
struct RowId {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const RowId&) const = default;
};

// A value of any type in 64 bits: integers and times as they are, booleans 0 or 1, reals by their bits, texts as an
// index into the source's texts.
struct Cell {
  std::uint64_t bits = 0;
  bool there = false;
};

// Not thread-safe while it changes. After add, replace_until, erase or drop_before call finish() before reading.
class Series {
 public:
  struct Layout {
    std::size_t cells = 0;
    std::vector<std::size_t> sums;    // cell of each sum, or kNone
    std::vector<tables::Type> types;  // of each cell
    bool events = false;              // whether events differ from knowledge times
  };

  struct Row {
    std::int64_t known_ms = 0;
    std::int64_t event_ms = 0;
    std::int64_t until_ms = kForever;  // when a correction became known
    RowId id;
    std::uint32_t slot = 0;
  };

  explicit Series(const Layout& layout) : layout_(layout) {}

  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] bool dirty() const { return clean_ < rows_.size() || unsorted_ || reindex_; }

  // Adds a row whose (known_ms, id) is not there yet.
  void add(const Row& row, std::span<const Cell> cells);
  // Sets the values of the row that has this (known_ms, id).
  void overwrite(std::int64_t known_ms, const RowId& id, std::int64_t event_ms, std::span<const Cell> cells);
  void set_until(std::int64_t known_ms, const RowId& id, std::int64_t until_ms);
  void erase(std::int64_t known_ms, const RowId& id);
  void drop_before(std::int64_t known_ms);
  // Brings sums and order up to date: O(rows at and after the first that changed).
  void finish();

  // Returns how many rows were known strictly before `tick_ms`; their indices are below it. O(log n).
  [[nodiscard]] std::size_t known_before(std::int64_t tick_ms) const;

  // Returns the slot of the row that an as-of lookup takes, or kNone. `known` = known_before(tick_ms). O(1), or linear
  // where corrections or late events interfere.
  [[nodiscard]] std::size_t newest(std::int64_t tick_ms, std::size_t known, std::int64_t max_age_ms) const;
  [[nodiscard]] Cell cell(std::size_t slot, std::size_t cell) const {
    return {bits_[slot * layout_.cells + cell], there_[slot * layout_.cells + cell] != 0};
  }

  struct Total {
    Int128 sum = 0;
    std::int64_t count = 0;
  };
  // Returns sum and number of the values of rows known in [tick_ms - over_ms, tick_ms) that no correction known before
  // tick_ms replaced. O(log n + corrections in the window).
  [[nodiscard]] Total total(std::size_t sum, std::int64_t tick_ms, std::size_t known, std::int64_t over_ms) const;

 private:
  struct Replaced {
    std::int64_t until_ms = 0;
    std::uint32_t index = 0;
  };

  [[nodiscard]] std::size_t index_of(std::int64_t known_ms, const RowId& id);
  void sort();
  [[nodiscard]] Total value(std::size_t sum, const Row& row) const;
  [[nodiscard]] bool later(std::size_t a, std::size_t b) const;
  void touch(std::size_t index) { clean_ = index < clean_ ? index : clean_; }

  const Layout& layout_;
  std::vector<Row> rows_;                 // by (known_ms, id)
  std::vector<std::int64_t> known_;       // of rows_, close together for the search
  std::vector<std::uint64_t> bits_;       // by slot
  std::vector<std::uint8_t> there_;       // by slot
  std::vector<std::uint32_t> free_;       // slots
  std::vector<std::vector<Total>> sums_;  // sums_[s][i]: over rows [0, i)
  std::vector<std::uint32_t> newest_;     // newest_[i]: index of the latest event among rows [0, i]
  std::vector<Replaced> replaced_;        // rows with a correction, by until_ms
  std::size_t clean_ = 0;                 // rows before it are covered by sums_ and newest_
  bool unsorted_ = false;
  bool reindex_ = false;  // replaced_ is out of date
};

// Returns a - b, or the minimum when that is before all time or b is kForever.
[[nodiscard]] inline std::int64_t minus_clamped(std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  return b == kForever || __builtin_sub_overflow(a, b, &out) ? std::numeric_limits<std::int64_t>::min() : out;
}

}  // namespace tidemill::features
