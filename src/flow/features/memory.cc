#include "flow/features/memory.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <tuple>
#include <utility>

namespace tidemill::features {
namespace {

using tables::Column;
using tables::Type;

constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::min();

Result<void> check_sums(const SourcePlan& plan, const TypedColumns& columns, std::size_t rows) {
  for (const GroupPlan& group : plan.groups) {
    for (const std::size_t sum : group.sums) {
      if (sum == kNone) continue;
      const Column& column = *columns[group.cells[sum]];
      for (std::size_t row = 0; row < rows; ++row) {
        const double value = column.number(row);
        if (!(std::fabs(value) > kSumValueMax)) continue;  // missing and NaN count as missing
        return fail(Code::kInvalidArgument, "features.invalid",
                    fmt::format("Dataset {}: column '{}' is {:g} in row {}, too large to be summed exactly.",
                                plan.dataset, column.name, value, row + 1),
                    fmt::format("Keep values of windows within {:g}, for example by another unit.", kSumValueMax));
      }
    }
  }
  return {};
}

}  // namespace

struct SourceMemory::Keyed {
  std::int64_t known_ms = 0;
  RowId id;
  std::size_t row = 0;
};

RowId row_id(const SourcePlan& plan, const TypedColumns& columns, std::size_t row, std::string& scratch) {
  scratch.clear();
  for (const std::size_t part : plan.id) append_key(scratch, *columns[part], row);
  const XXH128_hash_t hash = XXH3_128bits(scratch.data(), scratch.size());
  return {hash.high64, hash.low64};
}

std::int64_t known_ms(const SourcePlan& plan, const TypedColumns& columns, std::size_t row) {
  if (plan.always_known()) return kAlways;
  const Column& known = *columns[plan.known];
  if (known.is_missing(row)) return kForever;
  std::int64_t at_ms = 0;
  return __builtin_add_overflow(known.integers()[row], plan.delay_ms, &at_ms) ? kForever : at_ms;
}

Result<void> check_rows(const SourcePlan& plan, const tables::Frame& rows) {
  return check_sums(plan, TM_TRY(TypedColumns::of(rows, plan.columns, fmt::format("Dataset {}", plan.dataset))),
                    rows.rows);
}

SourceMemory::SourceMemory(const SourcePlan& plan) : plan_(plan) {
  for (const GroupPlan& one : plan.groups) {
    auto group = std::make_unique<Group>();
    group->layout.cells = one.cells.size();
    group->layout.sums = one.sums;
    group->layout.events = plan.event != kNone;
    for (const std::size_t column : one.cells) group->layout.types.push_back(plan.columns[column].type);
    groups_.push_back(std::move(group));
  }
}

Result<void> SourceMemory::add(const tables::Frame& rows) {
  const TypedColumns columns = TM_TRY(TypedColumns::of(rows, plan_.columns, fmt::format("Dataset {}", plan_.dataset)));
  TM_CHECK(check_sums(plan_, columns, rows.rows));
  std::vector<Keyed> order;
  order.reserve(rows.rows);
  std::string scratch;
  for (std::size_t row = 0; row < rows.rows; ++row) {
    const std::int64_t at_ms = known_ms(plan_, columns, row);
    if (at_ms == kForever || (at_ms != kAlways && at_ms < complete_from_ms_)) continue;
    order.push_back({at_ms, row_id(plan_, columns, row, scratch), row});
  }
  std::sort(order.begin(), order.end(), [](const Keyed& a, const Keyed& b) {
    return std::tie(a.known_ms, a.id, a.row) < std::tie(b.known_ms, b.id, b.row);
  });
  newest_.reserve(newest_.size() + order.size());
  for (const Keyed& one : order) insert(columns, one);
  for (Series* series : touched_) {
    if (series->dirty()) series->finish();
  }
  touched_.clear();
  return {};
}

void SourceMemory::insert(const TypedColumns& columns, const Keyed& keyed) {
  std::uint32_t& newest = newest_.try_emplace(keyed.id, kNoVersion).first->second;
  std::uint32_t later = kNoVersion;
  std::uint32_t mine = newest;  // the version itself if it is there, else the one before it
  while (mine != kNoVersion && versions_[mine].known_ms > keyed.known_ms) {
    later = mine;
    mine = versions_[mine].earlier;
  }
  const bool replaces = mine != kNoVersion && versions_[mine].known_ms == keyed.known_ms;
  const std::uint32_t corrected = mine;
  if (!replaces) {
    mine = static_cast<std::uint32_t>(versions_.size());
    versions_.push_back({keyed.known_ms, corrected});
    series_.resize(series_.size() + groups_.size(), nullptr);
    (later == kNoVersion ? newest : versions_[later].earlier) = mine;
    if (keyed.known_ms != kAlways) newest_known_ms_ = std::max(newest_known_ms_, keyed.known_ms);
  }
  Series::Row row;
  row.known_ms = keyed.known_ms;
  row.id = keyed.id;
  row.event_ms = event_of(columns, keyed);
  if (later != kNoVersion) row.until_ms = versions_[later].known_ms;
  for (std::size_t g = 0; g < groups_.size(); ++g) {
    Series*& place = series_[mine * groups_.size() + g];
    Series* const old = place;
    place = series_of(g, columns, keyed.row);
    if (old != nullptr && old != place) touched(old)->erase(row.known_ms, row.id);
    if (place != nullptr && old == place) {
      touched(place)->overwrite(row.known_ms, row.id, row.event_ms, cells_of(plan_.groups[g], columns, keyed.row));
    } else if (place != nullptr) {
      touched(place)->add(row, cells_of(plan_.groups[g], columns, keyed.row));
    }
    if (replaces || corrected == kNoVersion) continue;
    Series* const before = series_[corrected * groups_.size() + g];
    if (before != nullptr) touched(before)->set_until(versions_[corrected].known_ms, row.id, row.known_ms);
  }
}

std::int64_t SourceMemory::event_of(const TypedColumns& columns, const Keyed& keyed) const {
  if (plan_.event == kNone) return keyed.known_ms;
  const Column& event = *columns[plan_.event];
  return event.is_missing(keyed.row) ? kAlways : event.integers()[keyed.row];
}

Series* SourceMemory::series_of(std::size_t group, const TypedColumns& columns, std::size_t row) {
  if (!key_of(columns, plan_.groups[group].key, row, key_)) return nullptr;
  Group& owner = *groups_[group];
  const auto found = owner.series.find(std::string_view(key_));
  if (found != owner.series.end()) return found->second.get();
  return owner.series.emplace(key_, std::make_unique<Series>(owner.layout)).first->second.get();
}

std::span<const Cell> SourceMemory::cells_of(const GroupPlan& plan, const TypedColumns& columns, std::size_t row) {
  cells_.clear();
  for (const std::size_t at : plan.cells) {
    const Column& column = *columns[at];
    Cell cell;
    if (!column.is_missing(row)) {
      cell.there = true;
      switch (column.type) {
        case Type::boolean:
          cell.bits = column.booleans()[row];
          break;
        case Type::real:
          cell.bits = std::bit_cast<std::uint64_t>(column.reals()[row]);
          cell.there = !std::isnan(column.reals()[row]);
          break;
        case Type::text:
          cell.bits = text_index(column.texts()[row]);
          break;
        default:
          cell.bits = static_cast<std::uint64_t>(column.integers()[row]);
      }
    }
    cells_.push_back(cell);
  }
  return cells_;
}

std::uint64_t SourceMemory::text_index(const std::string& text) {
  const auto [found, added] = text_index_.try_emplace(text, texts_.size());
  if (added) texts_.push_back(text);
  return found->second;
}

Series* SourceMemory::touched(Series* series) {
  if (!series->dirty()) touched_.push_back(series);
  return series;
}

void SourceMemory::drop_before(std::int64_t known_ms) {
  if (plan_.always_known() || known_ms <= complete_from_ms_) return;
  complete_from_ms_ = known_ms;
  drop_versions_before(known_ms);
  for (const auto& group : groups_) {
    for (auto one = group->series.begin(); one != group->series.end();) {
      one->second->drop_before(known_ms);
      if (one->second->dirty()) one->second->finish();
      one = one->second->size() == 0 ? group->series.erase(one) : std::next(one);
    }
  }
}

void SourceMemory::drop_versions_before(std::int64_t known_ms) {
  std::vector<Version> kept;
  std::vector<Series*> series;
  for (auto id = newest_.begin(); id != newest_.end();) {
    std::uint32_t* end = &id->second;  // where the chain of the kept ones goes on
    for (std::uint32_t at = id->second; at != kNoVersion && versions_[at].known_ms >= known_ms;
         at = versions_[at].earlier) {
      *end = static_cast<std::uint32_t>(kept.size());
      kept.push_back({versions_[at].known_ms, kNoVersion});
      const auto places = series_.begin() + static_cast<std::ptrdiff_t>(at * groups_.size());
      series.insert(series.end(), places, places + static_cast<std::ptrdiff_t>(groups_.size()));
      end = &kept.back().earlier;
    }
    const bool any = end != &id->second;
    id = any ? std::next(id) : newest_.erase(id);
  }
  versions_ = std::move(kept);
  series_ = std::move(series);
}

const Series* SourceMemory::find(std::size_t group, std::string_view key) const {
  const ByKey& series = groups_[group]->series;
  const auto found = series.find(key);
  return found == series.end() ? nullptr : found->second.get();
}

}  // namespace tidemill::features
