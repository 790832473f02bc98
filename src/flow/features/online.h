// Rows for online use: durable in the key-value store, indexed in memory by view. Private to the room.
//
// A row is kept once for each feed of its dataset. A feed is what decides which row is which: dataset, knowledge time,
// delay and id of a view's source; views that agree on these share it. Its rows stand in the order of their knowledge
// times, so that what no view can see any more is the beginning of a range.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "flow/features/features.h"
#include "flow/features/memory.h"
#include "flow/features/plan.h"
#include "storage/kv/kv.h"

namespace tidemill::features {

// All functions may be called from any thread.
class Online {
 public:
  Online(kv::Kv& kv, const Clock& clock, const Settings& settings) : kv_(kv), clock_(clock), settings_(settings) {}

  // Makes the view known: from now on rows of its datasets are kept for it. It answers once `materialized`.
  [[nodiscard]] Result<void> add_view(Plan plan, bool materialized);

  // Returns the plan of a view ("name@number"), or null when it was not added.
  [[nodiscard]] std::shared_ptr<const Plan> plan(const std::string& view) const;

  // Reads the view's rows into memory, unless they are there already.
  [[nodiscard]] Result<void> load(const std::string& view);

  // Returns the columns that the views read of a dataset; empty when none does.
  [[nodiscard]] std::vector<tables::ColumnType> read_columns(std::string_view dataset) const;

  // As Features::push. `rows` has all columns of read_columns(dataset).
  [[nodiscard]] Result<Pushed> push(std::string_view dataset, const tables::Frame& rows);

  // Keeps what the views can still see of a dataset's rows, in place of what is there under the same id and knowledge
  // time; rows that became known past `now` + future_ms_max are left out. The views that read it are to be reloaded.
  [[nodiscard]] Result<void> fill(std::string_view dataset, const tables::Frame& rows);

  // Marks the view as materialized, reloads every loaded view that reads one of its datasets, and returns what it
  // holds.
  [[nodiscard]] Result<std::vector<MaterializedSource>> refresh(const std::string& view);

  // As Features::online.
  [[nodiscard]] Result<tables::Frame> compute(const std::string& view, const tables::Frame& request,
                                              std::span<const std::int64_t> at_ms);
  // Returns the times of the request's rows: of the view's `at` column, or now.
  [[nodiscard]] Result<std::vector<std::int64_t>> times_of(const std::string& view, const tables::Frame& request) const;

 private:
  struct Feed {
    std::string prefix;                // of its keys
    SourcePlan source;                 // of the first view that has it: which columns make id and knowledge time
    std::int64_t horizon_ms = 0;       // the longest of its views; kForever: nothing expires
    std::int64_t newest_known_ms = 0;  // kAlways: none yet
    std::int64_t complete_from_ms = 0;
  };
  struct State {
    explicit State(Plan plan_) : plan(std::make_shared<const Plan>(std::move(plan_))) {}
    const std::shared_ptr<const Plan> plan;
    std::vector<std::string> feeds;  // prefix of each source's
    std::atomic<bool> materialized = false;
    std::atomic<bool> loaded = false;
    mutable std::shared_mutex mutex;
    std::vector<SourceMemory> sources;  // guarded by mutex
  };
  struct Row {
    std::size_t index = 0;
    std::int64_t known_ms = 0;
    std::string key;
  };

  [[nodiscard]] std::shared_ptr<State> state(const std::string& view) const;
  [[nodiscard]] std::vector<std::shared_ptr<State>> states_of(std::string_view dataset) const;
  [[nodiscard]] Result<void> load_locked(State& state);
  [[nodiscard]] Result<SourceMemory> read_source(const SourcePlan& plan, const std::string& prefix) const;
  [[nodiscard]] Result<Feed*> open_feed(const SourcePlan& source);
  [[nodiscard]] Result<std::vector<Row>> keyed(const Feed& feed, const tables::Frame& rows, bool pushed) const;
  [[nodiscard]] Result<bool> is_there(const Feed& feed, const tables::Frame& rows, const Row& row) const;
  [[nodiscard]] Result<void> apply(std::string_view dataset, const tables::Frame& rows);
  [[nodiscard]] Result<void> expire(Feed& feed);
  [[nodiscard]] std::int64_t expired_before(const Feed& feed) const;
  [[nodiscard]] Result<void> check_age(const State& state, std::span<const std::int64_t> at_ms) const;

  kv::Kv& kv_;
  const Clock& clock_;
  const Settings settings_;

  mutable std::shared_mutex states_mutex_;
  std::map<std::string, std::shared_ptr<State>> states_;  // guarded by states_mutex_; by "name@number"

  std::mutex writing_;                 // one push, load or fill at a time; taken before states_mutex_ and State::mutex
  std::map<std::string, Feed> feeds_;  // guarded by writing_; by prefix
};

}  // namespace tidemill::features
