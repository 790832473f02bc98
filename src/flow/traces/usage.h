// How the tokens and costs of a trace come from those of its spans. Private to this room.
#pragma once

#include <string>
#include <vector>

#include "flow/traces/types.h"

namespace tidemill::traces {

struct UsageNode {
  std::string id;
  std::string parent;
  Usage usage;
};

// Returns the sums over the tree. A span that says how much was used says so for all beneath it, as libraries that sum
// up themselves do; what its descendants say is then not added again. Tokens and costs are summed apart.
[[nodiscard]] Usage sum_usage(const std::vector<UsageNode>& nodes);

}  // namespace tidemill::traces
