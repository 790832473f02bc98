#include "flow/features/online.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/hash.h"
#include "flow/features/convert.h"
#include "flow/features/engine.h"
#include "flow/features/json_frame.h"

namespace tidemill::features {
namespace {

using tables::Frame;

constexpr std::int64_t kAlways = std::numeric_limits<std::int64_t>::min();
constexpr std::size_t kFillRows = 20'000;  // of one commit

// 8 bytes whose order is that of the numbers.
std::string ordered(std::int64_t number) {
  const std::uint64_t bits = static_cast<std::uint64_t>(number) ^ (std::uint64_t{1} << 63);
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>((bits >> shift) & 0xff));
  return out;
}

std::int64_t from_ordered(std::string_view bytes) {
  std::uint64_t bits = 0;
  for (const char byte : bytes.substr(0, 8)) bits = bits << 8 | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(bits ^ (std::uint64_t{1} << 63));
}

// "r" dataset NUL and 16 hex digits of what makes a feed: the prefix of its rows. Its "m" twin holds from when on the
// rows are complete.
std::string feed_prefix(const SourcePlan& source) {
  std::string identity =
      fmt::format("{}\n{}", source.always_known() ? "" : source.columns[source.known].name, source.delay_ms);
  for (const std::size_t column : source.id) identity += "\n" + source.columns[column].name;
  return "r" + source.dataset + '\0' + sha256_hex(identity).substr(0, 16);
}
std::string meta_key(const std::string& prefix) { return "m" + prefix.substr(1); }

std::string row_key(const std::string& prefix, std::int64_t known_ms, const RowId& id) {
  return prefix + ordered(known_ms) + ordered(static_cast<std::int64_t>(id.high)) +
         ordered(static_cast<std::int64_t>(id.low));
}

Frame pick(const Frame& rows, const std::vector<bool>& wanted) {
  Frame out;
  out.rows = static_cast<std::size_t>(std::ranges::count(wanted, true));
  for (const tables::Column& column : rows.columns) {
    tables::Column some = tables::Column::make(column.name, column.type);
    std::visit(
        [&](auto& values) {
          const auto& all = std::get<std::remove_reference_t<decltype(values)>>(column.values);
          for (std::size_t row = 0; row < rows.rows; ++row) {
            if (wanted[row]) values.push_back(all[row]);
          }
        },
        some.values);
    for (std::size_t row = 0; !column.valid.empty() && row < rows.rows; ++row) {
      if (wanted[row]) some.valid.push_back(column.valid[row]);
    }
    out.columns.push_back(std::move(some));
  }
  return out;
}

}  // namespace

Result<void> Online::add_view(Plan plan, bool materialized) {
  const std::string name = fmt::format("{}@{}", plan.view.name, plan.view.number);
  auto state = std::make_shared<State>(std::move(plan));
  const std::lock_guard writing(writing_);
  for (const SourcePlan& source : state->plan->sources) {
    Feed* const feed = TM_TRY(open_feed(source));
    feed->horizon_ms = std::max(feed->horizon_ms, source.horizon_ms());
    state->feeds.push_back(feed->prefix);
  }
  state->materialized = materialized || state->plan->sources.empty();
  const std::unique_lock lock(states_mutex_);
  states_.try_emplace(name, std::move(state));
  return {};
}

Result<Online::Feed*> Online::open_feed(const SourcePlan& source) {
  const std::string prefix = feed_prefix(source);
  const auto found = feeds_.find(prefix);
  if (found != feeds_.end()) return &found->second;
  Feed feed{prefix, source, 0, kAlways, kAlways};
  if (const auto last = TM_TRY(kv_.last_key(prefix, kv::prefix_end(prefix)))) {
    feed.newest_known_ms = from_ordered(std::string_view(*last).substr(prefix.size()));
  }
  if (const auto meta = TM_TRY(kv_.get(meta_key(prefix)))) feed.complete_from_ms = from_ordered(*meta);
  return &feeds_.emplace(prefix, std::move(feed)).first->second;
}

std::shared_ptr<Online::State> Online::state(const std::string& view) const {
  const std::shared_lock lock(states_mutex_);
  const auto found = states_.find(view);
  return found == states_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Online::State>> Online::states_of(std::string_view dataset) const {
  const std::shared_lock lock(states_mutex_);
  std::vector<std::shared_ptr<State>> out;
  for (const auto& [name, state] : states_) {
    if (std::ranges::find(state->plan->sources, dataset, &SourcePlan::dataset) != state->plan->sources.end()) {
      out.push_back(state);
    }
  }
  return out;
}

std::shared_ptr<const Plan> Online::plan(const std::string& view) const {
  const auto found = state(view);
  return found == nullptr ? nullptr : found->plan;
}

std::vector<tables::ColumnType> Online::read_columns(std::string_view dataset) const {
  std::vector<tables::ColumnType> out;
  for (const auto& state : states_of(dataset)) {
    for (const SourcePlan& source : state->plan->sources) {
      if (source.dataset != dataset) continue;
      for (const tables::ColumnType& column : source.columns) {
        if (std::ranges::find(out, column.name, &tables::ColumnType::name) == out.end()) out.push_back(column);
      }
    }
  }
  return out;
}

Result<void> Online::load(const std::string& view) {
  const auto found = state(view);
  if (found == nullptr || found->loaded) return {};
  const std::lock_guard writing(writing_);
  if (found->loaded) return {};
  return load_locked(*found);
}

Result<void> Online::load_locked(State& state) {
  std::vector<SourceMemory> sources;
  for (std::size_t s = 0; s < state.plan->sources.size(); ++s) {
    sources.push_back(TM_TRY(read_source(state.plan->sources[s], state.feeds[s])));
    sources.back().drop_before(feeds_.at(state.feeds[s]).complete_from_ms);
  }
  const std::unique_lock lock(state.mutex);
  state.sources = std::move(sources);
  state.loaded = true;
  return {};
}

Result<SourceMemory> Online::read_source(const SourcePlan& plan, const std::string& prefix) const {
  Frame frame;
  for (const tables::ColumnType& column : plan.columns) {
    frame.columns.push_back(tables::Column::make(column.name, column.type));
  }
  TM_CHECK(kv_.scan_prefix(prefix, [&](std::string_view, std::string_view value) -> Result<bool> {
    TM_CHECK(decode_row(value, frame));
    return true;
  }));
  SourceMemory memory(plan);
  TM_CHECK(memory.add(frame));
  return memory;
}

Result<std::vector<Online::Row>> Online::keyed(const Feed& feed, const Frame& rows, bool pushed) const {
  const TypedColumns columns =
      TM_TRY(TypedColumns::of(rows, feed.source.columns, fmt::format("Dataset {}", feed.source.dataset)));
  const std::int64_t latest_ms = clock_.now_ms() + settings_.future_ms_max;
  std::vector<Row> out;
  std::string scratch;
  for (std::size_t row = 0; row < rows.rows; ++row) {
    for (const std::size_t part : feed.source.id) {
      if (!pushed || !columns[part]->is_missing(row)) continue;
      return fail(Code::kInvalidArgument, "features.bad_row",
                  fmt::format("rows[{}] has no '{}', which tells rows of '{}' apart.", row, columns[part]->name,
                              feed.source.dataset),
                  "Give the row's id.");
    }
    const std::int64_t at_ms = known_ms(feed.source, columns, row);
    if (pushed && at_ms == kForever) {
      return fail(Code::kInvalidArgument, "features.bad_row",
                  fmt::format("rows[{}] has no '{}', so nobody knows it yet.", row, columns[feed.source.known]->name),
                  "Hand a row in once it is known, with the time at which it became so.");
    }
    if (pushed && at_ms > latest_ms) {
      return fail(Code::kInvalidArgument, "features.bad_row",
                  fmt::format("rows[{}] becomes known at {}, which is in the future.", row, format_utc(at_ms)),
                  fmt::format("Give the time at which it became known; up to {} ms ahead are allowed for.",
                              settings_.future_ms_max));
    }
    if (at_ms > latest_ms) continue;
    out.push_back({row, at_ms, row_key(feed.prefix, at_ms, row_id(feed.source, columns, row, scratch))});
  }
  return out;
}

// Whether the same row is kept already. kConflict when it differs in a column that a view reads.
Result<bool> Online::is_there(const Feed& feed, const Frame& rows, const Row& row) const {
  const auto stored = TM_TRY(kv_.get(row.key));
  if (!stored || feed.source.always_known()) return stored && *stored == encode_row(rows, row.index);
  Frame before;
  Frame now;
  for (const tables::ColumnType& column : read_columns(feed.source.dataset)) {
    before.columns.push_back(tables::Column::make(column.name, column.type));
    now.columns.push_back(tables::Column::make(column.name, column.type));
  }
  TM_CHECK(decode_row(*stored, before));
  TM_CHECK(decode_row(encode_row(rows, row.index), now));
  if (encode_row(before, 0) == encode_row(now, 0)) return true;
  return fail(
      Code::kConflict, "features.row_differs",
      fmt::format("rows[{}] of '{}' is there already with the same id and knowledge time, but other values: {}.",
                  row.index, feed.source.dataset, json::serialize(rows_of(before)[0])),
      "Give a correction the time at which it became known.");
}

Result<Pushed> Online::push(std::string_view dataset, const Frame& rows) {
  const std::lock_guard writing(writing_);
  for (const auto& state : states_of(dataset)) {
    for (const SourcePlan& source : state->plan->sources) {
      if (source.dataset == dataset) TM_CHECK(check_rows(source, rows));
    }
  }
  Pushed pushed;
  std::vector<kv::Entry> entries;
  std::vector<bool> fresh(rows.rows, false);
  std::vector<Feed*> fed;
  std::vector<std::int64_t> newest;
  for (auto& [prefix, feed] : feeds_) {
    if (feed.source.dataset != dataset) continue;
    Pushed mine;
    std::map<std::string_view, std::size_t> seen;  // two rows of one push may be the same as well
    const std::vector<Row> keys = TM_TRY(keyed(feed, rows, true));
    for (const Row& row : keys) {
      if (row.known_ms != kAlways && row.known_ms < feed.complete_from_ms) {
        ++mine.expired;
        continue;
      }
      const auto [twin, first] = seen.try_emplace(row.key, row.index);
      const bool same = !first && encode_row(rows, twin->second) == encode_row(rows, row.index);
      if (!first && !same && !feed.source.always_known()) {
        return fail(Code::kConflict, "features.row_differs",
                    fmt::format("rows[{}] and rows[{}] have the same id and knowledge time, but other values.",
                                twin->second, row.index),
                    "Give a correction the time at which it became known.");
      }
      if (same || TM_TRY(is_there(feed, rows, row))) {
        ++mine.known_already;
        continue;
      }
      ++mine.added;
      fresh[row.index] = true;
      entries.push_back({row.key, encode_row(rows, row.index)});
    }
    pushed = mine;
    fed.push_back(&feed);
    newest.push_back(keys.empty() ? kAlways : std::ranges::max(keys, {}, &Row::known_ms).known_ms);
  }
  TM_CHECK(kv_.put_many(entries));
  for (std::size_t i = 0; i < fed.size(); ++i) fed[i]->newest_known_ms = std::max(fed[i]->newest_known_ms, newest[i]);
  if (!entries.empty()) TM_CHECK(apply(dataset, pick(rows, fresh)));
  for (Feed* feed : fed) TM_CHECK(expire(*feed));
  return pushed;
}

Result<void> Online::apply(std::string_view dataset, const Frame& rows) {
  for (const auto& state : states_of(dataset)) {
    if (!state->loaded) continue;  // will read them from the store
    const std::unique_lock lock(state->mutex);
    for (std::size_t s = 0; s < state->sources.size(); ++s) {
      if (state->plan->sources[s].dataset == dataset) TM_CHECK(state->sources[s].add(rows));
    }
  }
  return {};
}

// Drops what lies further back than any view looks from the newest row, plus slack: in steps, so that it costs little.
Result<void> Online::expire(Feed& feed) {
  const std::int64_t bound_ms = expired_before(feed);
  const std::int64_t step_ms = settings_.slack_ms / 8;
  if (bound_ms == kAlways || (feed.complete_from_ms != kAlways && bound_ms - feed.complete_from_ms < step_ms))
    return {};
  // First on disk that answers about older times are refused, then the rows.
  TM_CHECK(kv_.put_many(std::vector<kv::Entry>{{meta_key(feed.prefix), ordered(bound_ms)}}));
  feed.complete_from_ms = bound_ms;
  TM_TRY(kv_.erase_range(feed.prefix, feed.prefix + ordered(bound_ms)));
  for (const auto& state : states_of(feed.source.dataset)) {
    if (!state->loaded) continue;
    const std::unique_lock lock(state->mutex);
    for (std::size_t s = 0; s < state->sources.size(); ++s) {
      if (state->feeds[s] == feed.prefix) state->sources[s].drop_before(bound_ms);
    }
  }
  return {};
}

std::int64_t Online::expired_before(const Feed& feed) const {
  if (feed.horizon_ms == kForever || feed.source.always_known() || feed.newest_known_ms == kAlways) return kAlways;
  return minus_clamped(minus_clamped(feed.newest_known_ms, feed.horizon_ms), settings_.slack_ms);
}

Result<void> Online::fill(std::string_view dataset, const Frame& rows) {
  const std::lock_guard writing(writing_);
  for (auto& [prefix, feed] : feeds_) {
    if (feed.source.dataset != dataset) continue;
    const std::vector<Row> keys = TM_TRY(keyed(feed, rows, false));
    const std::int64_t newest_ms = keys.empty() ? kAlways : std::ranges::max(keys, {}, &Row::known_ms).known_ms;
    feed.newest_known_ms = std::max(feed.newest_known_ms, newest_ms);
    // The dataset may reach further back than the store did; but if it ends before the store begins, rows between the
    // two are gone.
    const bool gap = feed.complete_from_ms != kAlways && newest_ms < feed.complete_from_ms;
    const std::int64_t bound_ms = gap ? std::max(expired_before(feed), feed.complete_from_ms) : expired_before(feed);
    std::vector<kv::Entry> entries;
    for (const Row& row : keys) {
      if (row.known_ms < bound_ms) continue;
      entries.push_back({row.key, encode_row(rows, row.index)});
      if (entries.size() < kFillRows) continue;
      TM_CHECK(kv_.put_many(entries));
      entries.clear();
    }
    entries.push_back({meta_key(prefix), ordered(bound_ms)});
    TM_CHECK(kv_.put_many(entries));
    feed.complete_from_ms = bound_ms;
    TM_TRY(kv_.erase_range(prefix, prefix + ordered(bound_ms)));
  }
  return {};
}

Result<std::vector<MaterializedSource>> Online::refresh(const std::string& view) {
  const auto mine = state(view);
  const std::lock_guard writing(writing_);
  std::set<std::shared_ptr<State>> stale{mine};
  for (const SourcePlan& source : mine->plan->sources) {
    for (const auto& state : states_of(source.dataset)) {
      if (state->loaded) stale.insert(state);
    }
  }
  for (const auto& state : stale) TM_CHECK(load_locked(*state));
  mine->materialized = true;
  std::vector<MaterializedSource> out;
  for (std::size_t s = 0; s < mine->sources.size(); ++s) {
    const std::int64_t newest_ms = mine->sources[s].newest_known_ms();
    out.push_back({mine->plan->sources[s].dataset, 0, static_cast<std::int64_t>(mine->sources[s].rows()),
                   newest_ms == kAlways ? 0 : newest_ms});
  }
  return out;
}

Result<std::vector<std::int64_t>> Online::times_of(const std::string& view, const Frame& request) const {
  std::vector<std::int64_t> at_ms(request.rows, clock_.now_ms());
  const auto found = plan(view);
  if (found == nullptr || request.find(found->view.definition.at) == nullptr) return at_ms;
  const TypedColumns at =
      TM_TRY(TypedColumns::of(request, {{found->view.definition.at, tables::Type::time}}, "The request"));
  for (std::size_t row = 0; row < request.rows; ++row) {
    if (!at[0]->is_missing(row)) at_ms[row] = at[0]->integers()[row];
  }
  return at_ms;
}

Result<Frame> Online::compute(const std::string& view, const Frame& request, std::span<const std::int64_t> at_ms) {
  const auto found = state(view);
  if (found == nullptr || !found->materialized) {
    return fail(Code::kFailedPrecondition, "features.not_materialized",
                fmt::format("The feature view {} was never materialized.", view),
                fmt::format("POST /api/features/{}/materialize loads its datasets.", view));
  }
  for (const RequestColumn& column : found->plan->view.definition.request) {
    if (request.find(column.name) != nullptr) continue;
    return fail(Code::kInvalidArgument, "features.missing_column",
                fmt::format("The request has no column '{}', which the feature view {} needs.", column.name, view),
                "Add it; single values may be missing.");
  }
  if (!found->loaded) TM_CHECK(load(view));
  const std::shared_lock lock(found->mutex);
  TM_CHECK(check_age(*found, at_ms));
  std::vector<const SourceMemory*> sources;
  for (const SourceMemory& source : found->sources) sources.push_back(&source);
  return features::compute(*found->plan, sources, request, at_ms);
}

Result<void> Online::check_age(const State& state, std::span<const std::int64_t> at_ms) const {
  if (at_ms.empty()) return {};
  const std::int64_t oldest_ms = state.plan->tick_ms(std::ranges::min(at_ms));
  for (std::size_t s = 0; s < state.sources.size(); ++s) {
    const std::int64_t from_ms = state.sources[s].complete_from_ms();
    if (from_ms == kAlways || minus_clamped(oldest_ms, state.plan->sources[s].horizon_ms()) >= from_ms) continue;
    return fail(Code::kFailedPrecondition, "features.too_old",
                fmt::format("Rows of '{}' known before {} are no longer held, and the request asks about {}.",
                            state.plan->sources[s].dataset, format_utc(from_ms), format_utc(oldest_ms)),
                "Ask about a later time, or make a training set for the past.");
  }
  return {};
}

}  // namespace tidemill::features
