#include "flow/features/plan.h"

#include <algorithm>
#include <utility>

#include "base/clock.h"

namespace tidemill::features {
namespace {

// Returns the index of `item`, which is appended when it is not there.
template <class T>
std::size_t index_in(std::vector<T>& items, const T& item) {
  const auto found = std::ranges::find(items, item);
  if (found != items.end()) return static_cast<std::size_t>(found - items.begin());
  items.push_back(item);
  return items.size() - 1;
}

template <class T, class Name>
std::size_t position(const std::vector<T>& items, std::string_view name, Name member) {
  const auto found = std::ranges::find(items, name, member);
  return found == items.end() ? kNone : static_cast<std::size_t>(found - items.begin());
}

std::vector<std::size_t> columns_of(const SourcePlan& source, const std::vector<std::string>& names) {
  std::vector<std::size_t> out;
  for (const std::string& name : names) out.push_back(position(source.columns, name, &tables::ColumnType::name));
  return out;
}

Result<SourcePlan> plan_source(const Source& source, const Reads& reads) {
  SourcePlan plan;
  plan.dataset = source.dataset;
  plan.columns = reads.columns;
  if (!source.known.empty()) plan.known = position(plan.columns, source.known, &tables::ColumnType::name);
  if (!source.event.empty()) plan.event = position(plan.columns, source.event, &tables::ColumnType::name);
  if (!source.delay.empty()) plan.delay_ms = TM_TRY(parse_duration_ms(source.delay));
  plan.id = columns_of(plan, source.id);
  return plan;
}

Result<FeaturePlan> plan_feature(const Feature& feature, Plan& plan) {
  FeaturePlan out;
  out.name = feature.name;
  out.kind = feature.kind;
  out.function = feature.function.value_or(Function::count);
  out.type = *feature.type;
  Probe probe;
  probe.source = position(plan.sources, feature.source, &SourcePlan::dataset);
  SourcePlan& source = plan.sources[probe.source];
  const std::vector<std::size_t> key = columns_of(source, feature.key);
  const auto known = std::ranges::find(source.groups, key, &GroupPlan::key);
  probe.group = static_cast<std::size_t>(known - source.groups.begin());
  if (known == source.groups.end()) source.groups.push_back({key, {}, {}, 0});
  GroupPlan& group = source.groups[probe.group];
  for (const std::string& name : feature.by) {
    probe.by.push_back(position(plan.view.definition.request, name, &RequestColumn::name));
  }
  const std::size_t cell =
      feature.column.empty() ? kNone : index_in(group.cells, columns_of(source, {feature.column}).front());
  if (feature.kind == Kind::window) {
    out.sum = index_in(group.sums, cell);
    out.span_ms = TM_TRY(parse_duration_ms(feature.over));
  } else {
    out.cell = cell;
    out.span_ms = feature.max_age.empty() ? kForever : TM_TRY(parse_duration_ms(feature.max_age));
  }
  group.horizon_ms = std::max(group.horizon_ms, out.span_ms);
  const auto same = std::ranges::find_if(plan.probes, [&](const Probe& one) {
    return one.source == probe.source && one.group == probe.group && one.by == probe.by;
  });
  out.probe = static_cast<std::size_t>(same - plan.probes.begin());
  if (same == plan.probes.end()) plan.probes.push_back(std::move(probe));
  return out;
}

}  // namespace

std::int64_t SourcePlan::horizon_ms() const {
  std::int64_t longest = 0;
  for (const GroupPlan& group : groups) longest = std::max(longest, group.horizon_ms);
  return longest;
}

Result<Plan> make_plan(const View& view) {
  Plan plan;
  plan.view = view;
  const NewView& definition = plan.view.definition;
  if (!definition.refresh.empty()) plan.refresh_ms = TM_TRY(parse_duration_ms(definition.refresh));
  for (std::size_t i = 0; i < definition.sources.size(); ++i) {
    plan.sources.push_back(TM_TRY(plan_source(definition.sources[i], view.reads[i])));
  }
  for (const Feature& feature : definition.features) plan.features.push_back(TM_TRY(plan_feature(feature, plan)));
  return plan;
}

}  // namespace tidemill::features
