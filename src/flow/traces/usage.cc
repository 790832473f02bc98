#include "flow/traces/usage.h"

#include <cstddef>
#include <string_view>
#include <unordered_map>

namespace tidemill::traces {
namespace {

template <class T>
void add(std::optional<T>& sum, const std::optional<T>& value, bool always) {
  if (!value && !always) return;
  sum = sum.value_or(T{}) + value.value_or(T{});
}

void add_tokens(Usage& sum, const Usage& usage) {
  add(sum.input_tokens, usage.input_tokens, true);
  add(sum.output_tokens, usage.output_tokens, true);
  add(sum.total_tokens, usage.total_tokens, true);
  add(sum.cache_read_tokens, usage.cache_read_tokens, false);
  add(sum.cache_creation_tokens, usage.cache_creation_tokens, false);
}

void add_costs(Usage& sum, const Usage& usage) {
  add(sum.input_cost, usage.input_cost, true);
  add(sum.output_cost, usage.output_cost, true);
  add(sum.total_cost, usage.total_cost, true);
}

// A node to be looked at, and whether one above it has told already.
struct Visit {
  std::size_t node = 0;
  bool tokens_told = false;
  bool costs_told = false;
};

}  // namespace

Usage sum_usage(const std::vector<UsageNode>& nodes) {
  std::unordered_map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < nodes.size(); ++i) places.emplace(nodes[i].id, i);
  std::vector<std::vector<std::size_t>> children(nodes.size());
  std::vector<Visit> open;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto parent = places.find(nodes[i].parent);
    if (parent == places.end() || nodes[i].parent.empty()) {
      open.push_back({i});
    } else {
      children[parent->second].push_back(i);
    }
  }
  Usage sum;
  while (!open.empty()) {  // spans in a circle hang on no root: they are never reached
    Visit visit = open.back();
    open.pop_back();
    const Usage& usage = nodes[visit.node].usage;
    if (!visit.tokens_told && usage.has_tokens()) add_tokens(sum, usage);
    if (!visit.costs_told && usage.has_costs()) add_costs(sum, usage);
    visit.tokens_told = visit.tokens_told || usage.has_tokens();
    visit.costs_told = visit.costs_told || usage.has_costs();
    for (const std::size_t child : children[visit.node]) open.push_back({child, visit.tokens_told, visit.costs_told});
  }
  return sum;
}

}  // namespace tidemill::traces
