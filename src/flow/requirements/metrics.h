// The metrics that a rule may name: formula, unit, direction.
#pragma once

#include <boost/describe.hpp>
#include <span>
#include <string_view>

#include "base/enums.h"

namespace tidemill::requirements {

enum class Better { higher, lower };
BOOST_DESCRIBE_ENUM(Better, higher, lower)

struct Metric {
  std::string_view name;
  std::string_view unit;
  Better better;
  double low;   // the least value that it can take
  double high;  // the greatest; infinity when unbounded
  std::string_view formula;
};

// Returns all of them, in the order in which they are shown. Valid for ever.
[[nodiscard]] std::span<const Metric> known_metrics();

// Returns the metric of this name, or nullptr.
[[nodiscard]] const Metric* find_metric(std::string_view name);

}  // namespace tidemill::requirements
