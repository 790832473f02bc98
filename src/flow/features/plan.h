// A view, ready to be computed: names resolved to indices, durations to milliseconds. Private to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/features/types.h"
#include "storage/tables/frame.h"

namespace tidemill::features {

constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
constexpr std::int64_t kForever = std::numeric_limits<std::int64_t>::max();

// Rows of one source by the same key columns. Features of one group share its searches.
struct GroupPlan {
  std::vector<std::size_t> key;    // source columns
  std::vector<std::size_t> cells;  // source columns whose values are kept with each row
  std::vector<std::size_t> sums;   // indices into `cells` with running sums; kNone counts rows
  std::int64_t horizon_ms = 0;     // how far before the tick its features look; kForever for as-of of any age
};

struct SourcePlan {
  std::string dataset;
  std::vector<tables::ColumnType> columns;  // all that is read, in the order of View::reads
  std::size_t known = kNone;                // kNone: always known
  std::size_t event = kNone;                // kNone: the knowledge time
  std::int64_t delay_ms = 0;
  std::vector<std::size_t> id;
  std::vector<GroupPlan> groups;

  [[nodiscard]] bool always_known() const { return known == kNone; }
  // Returns the longest horizon of its groups.
  [[nodiscard]] std::int64_t horizon_ms() const;
};

// One key of the request looked up in one group.
struct Probe {
  std::size_t source = 0;
  std::size_t group = 0;
  std::vector<std::size_t> by;  // request columns, in the order of the group's key
};

struct FeaturePlan {
  std::string name;
  Kind kind = Kind::lookup;
  Function function = Function::count;
  tables::Type type = tables::Type::real;  // of its values
  std::size_t probe = 0;
  std::size_t cell = kNone;         // lookup, as_of: index into the group's cells
  std::size_t sum = kNone;          // window: index into the group's sums
  std::int64_t span_ms = kForever;  // over or max_age
};

struct Plan {
  View view;
  std::int64_t refresh_ms = 1;
  std::vector<SourcePlan> sources;
  std::vector<Probe> probes;
  std::vector<FeaturePlan> features;

  // Returns the tick of a time: the latest multiple of refresh_ms that is not after it.
  [[nodiscard]] std::int64_t tick_ms(std::int64_t at_ms) const {
    const std::int64_t rest = at_ms % refresh_ms;
    return at_ms - (rest < 0 ? rest + refresh_ms : rest);
  }
};

// Returns the plan of a view that `check_definition` has passed.
[[nodiscard]] Result<Plan> make_plan(const View& view);

// What is known of a dataset when a view is defined.
struct DatasetShape {
  std::vector<tables::ColumnType> columns;
  std::vector<std::string> keys;
};

// Returns the definition with every default filled in; what it reads and gives. kInvalidArgument names field, value and
// remedy. `shapes` has every source that exists, in the order of definition.sources, and nothing for one that does not.
struct Checked {
  NewView definition;
  std::vector<Reads> reads;
  std::vector<OutputColumn> columns;
};
[[nodiscard]] Result<Checked> check_definition(NewView definition,
                                               const std::vector<std::optional<DatasetShape>>& shapes);

}  // namespace tidemill::features
