#include "flow/features/series.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

namespace tidemill::features {
namespace {

double number_of(const Cell& cell, tables::Type type) {
  return type == tables::Type::real ? std::bit_cast<double>(cell.bits)
                                    : static_cast<double>(static_cast<std::int64_t>(cell.bits));
}

bool before(const Series::Row& a, const Series::Row& b) {
  return std::tie(a.known_ms, a.id) < std::tie(b.known_ms, b.id);
}

}  // namespace

Int128 to_fixed(double value) { return static_cast<Int128>(std::nearbyint(std::ldexp(value, kSumBits))); }
double from_fixed(Int128 sum) { return std::ldexp(static_cast<double>(sum), -kSumBits); }

void Series::add(const Row& row, std::span<const Cell> cells) {
  Row mine = row;
  if (free_.empty()) {
    mine.slot = static_cast<std::uint32_t>(rows_.size());
    bits_.resize(bits_.size() + layout_.cells);
    there_.resize(there_.size() + layout_.cells);
  } else {
    mine.slot = free_.back();
    free_.pop_back();
  }
  for (std::size_t i = 0; i < layout_.cells; ++i) {
    bits_[mine.slot * layout_.cells + i] = cells[i].bits;
    there_[mine.slot * layout_.cells + i] = cells[i].there ? 1 : 0;
  }
  if (!rows_.empty() && before(mine, rows_.back())) {
    unsorted_ = true;
    const auto place =
        std::lower_bound(rows_.begin(), rows_.begin() + static_cast<std::ptrdiff_t>(clean_), mine, before);
    touch(static_cast<std::size_t>(place - rows_.begin()));
  }
  reindex_ = reindex_ || mine.until_ms != kForever || !replaced_.empty();
  rows_.push_back(mine);
}

void Series::overwrite(std::int64_t known_ms, const RowId& id, std::int64_t event_ms, std::span<const Cell> cells) {
  const std::size_t index = index_of(known_ms, id);
  if (index == kNone) return;
  Row& row = rows_[index];
  row.event_ms = event_ms;
  for (std::size_t i = 0; i < layout_.cells; ++i) {
    bits_[row.slot * layout_.cells + i] = cells[i].bits;
    there_[row.slot * layout_.cells + i] = cells[i].there ? 1 : 0;
  }
  touch(index);
}

void Series::set_until(std::int64_t known_ms, const RowId& id, std::int64_t until_ms) {
  const std::size_t index = index_of(known_ms, id);
  if (index == kNone) return;
  rows_[index].until_ms = until_ms;
  reindex_ = true;
}

void Series::erase(std::int64_t known_ms, const RowId& id) {
  const std::size_t index = index_of(known_ms, id);
  if (index == kNone) return;
  free_.push_back(rows_[index].slot);
  rows_.erase(rows_.begin() + static_cast<std::ptrdiff_t>(index));
  touch(index);
  reindex_ = true;
}

void Series::drop_before(std::int64_t known_ms) {
  sort();
  const auto first_kept =
      std::find_if(rows_.begin(), rows_.end(), [&](const Row& r) { return r.known_ms >= known_ms; });
  if (first_kept == rows_.begin()) return;
  for (auto row = rows_.begin(); row != first_kept; ++row) free_.push_back(row->slot);
  rows_.erase(rows_.begin(), first_kept);
  clean_ = 0;
  reindex_ = true;
}

void Series::sort() {
  if (!unsorted_) return;
  std::sort(rows_.begin() + static_cast<std::ptrdiff_t>(clean_), rows_.end(), before);
  unsorted_ = false;
}

std::size_t Series::index_of(std::int64_t known_ms, const RowId& id) {
  sort();
  Row wanted;
  wanted.known_ms = known_ms;
  wanted.id = id;
  const auto found = std::lower_bound(rows_.begin(), rows_.end(), wanted, before);
  if (found == rows_.end() || found->known_ms != known_ms || found->id != id) return kNone;
  return static_cast<std::size_t>(found - rows_.begin());
}

Series::Total Series::value(std::size_t sum, const Row& row) const {
  const std::size_t at = layout_.sums[sum];
  if (at == kNone) return {0, 1};
  const Cell one = cell(row.slot, at);
  if (!one.there) return {};
  return {to_fixed(number_of(one, layout_.types[at])), 1};
}

bool Series::later(std::size_t a, std::size_t b) const {
  return std::tie(rows_[a].event_ms, rows_[a].known_ms, rows_[a].id) >
         std::tie(rows_[b].event_ms, rows_[b].known_ms, rows_[b].id);
}

void Series::finish() {
  sort();
  known_.resize(rows_.size());
  newest_.resize(rows_.size());
  sums_.resize(layout_.sums.size());
  for (std::size_t i = clean_; i < rows_.size(); ++i) {
    known_[i] = rows_[i].known_ms;
    const bool newer = i == 0 || later(i, newest_[i - 1]);
    newest_[i] = newer ? static_cast<std::uint32_t>(i) : newest_[i - 1];
  }
  for (std::size_t s = 0; s < sums_.size(); ++s) {
    sums_[s].resize(rows_.size() + 1);
    for (std::size_t i = clean_; i < rows_.size(); ++i) {
      const Total one = value(s, rows_[i]);
      sums_[s][i + 1] = {sums_[s][i].sum + one.sum, sums_[s][i].count + one.count};
    }
  }
  clean_ = rows_.size();
  if (!reindex_) return;
  replaced_.clear();
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].until_ms != kForever) replaced_.push_back({rows_[i].until_ms, static_cast<std::uint32_t>(i)});
  }
  std::sort(replaced_.begin(), replaced_.end(), [](const Replaced& a, const Replaced& b) {
    return std::tie(a.until_ms, a.index) < std::tie(b.until_ms, b.index);
  });
  reindex_ = false;
}

std::size_t Series::known_before(std::int64_t tick_ms) const {
  return static_cast<std::size_t>(std::lower_bound(known_.begin(), known_.end(), tick_ms) - known_.begin());
}

std::size_t Series::newest(std::int64_t tick_ms, std::size_t known, std::int64_t max_age_ms) const {
  if (known == 0) return kNone;
  const std::int64_t oldest = minus_clamped(tick_ms, max_age_ms);
  const Row& best = rows_[newest_[known - 1]];
  const bool fresh = best.known_ms >= oldest;
  if (fresh && best.until_ms >= tick_ms) return best.slot;
  if (!fresh && !layout_.events) return kNone;  // the newest is too old, so all are
  std::size_t found = kNone;
  for (std::size_t i = known; i-- > 0 && known_[i] >= oldest;) {
    if (rows_[i].until_ms >= tick_ms && (found == kNone || later(i, found))) found = i;
  }
  return found == kNone ? kNone : rows_[found].slot;
}

Series::Total Series::total(std::size_t sum, std::int64_t tick_ms, std::size_t known, std::int64_t over_ms) const {
  const std::int64_t oldest = minus_clamped(tick_ms, over_ms);
  const auto end = known_.begin() + static_cast<std::ptrdiff_t>(known);
  const auto first = static_cast<std::size_t>(std::lower_bound(known_.begin(), end, oldest) - known_.begin());
  Total out{sums_[sum][known].sum - sums_[sum][first].sum, sums_[sum][known].count - sums_[sum][first].count};
  if (replaced_.empty()) return out;
  // A row leaves when its correction is known; a correction known at or before `oldest` replaced a row that is not in
  // the window anyway.
  auto one = std::upper_bound(replaced_.begin(), replaced_.end(), oldest,
                              [](std::int64_t ms, const Replaced& r) { return ms < r.until_ms; });
  for (; one != replaced_.end() && one->until_ms < tick_ms; ++one) {
    if (rows_[one->index].known_ms < oldest) continue;
    const Total gone = value(sum, rows_[one->index]);
    out.sum -= gone.sum;
    out.count -= gone.count;
  }
  return out;
}

}  // namespace tidemill::features
