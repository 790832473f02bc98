// What was in production at a moment, told by the event log alone.
#include <map>
#include <utility>

#include "base/json.h"
#include "flow/deployments/deployments.h"

namespace tidemill::deployments {
namespace {

constexpr std::string_view kKinds = "deployments.";
constexpr std::string_view kSubjects = "deployments/";

std::int64_t number_of(const json::Object& payload, std::string_view key) {
  const auto* value = payload.if_contains(key);
  return value != nullptr && value->is_int64() ? value->get_int64() : 0;
}

std::string text_of(const json::Object& payload, std::string_view key) {
  const auto* value = payload.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

Result<void> read_shadows(const json::Object& payload, Live& live) {
  if (const auto* shadows = payload.if_contains("shadows")) {
    live.shadows = TM_TRY(json::from_json<std::vector<std::int64_t>>(*shadows, "shadows"));
  }
  return {};
}

// Moves on by one event. Every event of a deployment names the model and the champion after it.
Result<void> apply(const events::Event& event, std::map<std::string, Live>& all) {
  const std::string name = event.subject.substr(kSubjects.size());
  const std::string_view what = std::string_view(event.kind).substr(kKinds.size());
  if (what == "stopped") {
    all.erase(name);
    return {};
  }
  Live& live = all[name];
  live.deployment = name;
  live.model = text_of(event.payload, "model");
  live.champion = number_of(event.payload, "champion");
  live.since_ms = event.at_ms;
  live.seq = event.seq;
  live.actor = event.actor;
  live.reason = text_of(event.payload, "reason");
  if (what == "canary_started") {
    live.candidate = number_of(event.payload, "version");
    live.candidate_percent = number_of(event.payload, "percent");
  } else if (what == "promoted" || what == "rolled_back") {
    live.candidate.reset();
    live.candidate_percent.reset();
  }
  return read_shadows(event.payload, live);
}

}  // namespace

Result<Production> Deployments::production_at(std::optional<std::int64_t> asked_ms, std::string_view model) {
  const std::int64_t at_ms = asked_ms.value_or(parts_.clock.now_ms());
  std::map<std::string, Live> all;
  events::Filter filter{.kind_prefix = std::string(kKinds), .limit = events::kReadMax};
  for (;;) {
    const auto page = TM_TRY(parts_.events.read(filter));
    for (const auto& event : page) {
      if (event.at_ms <= at_ms && event.subject.starts_with(kSubjects)) TM_CHECK(apply(event, all));
    }
    if (page.size() < static_cast<std::size_t>(filter.limit)) break;
    filter.after_seq = page.back().seq;
  }
  Production production{at_ms, {}};
  for (auto& [name, live] : all) {
    if (model.empty() || live.model == model) production.live.push_back(std::move(live));
  }
  return production;
}

}  // namespace tidemill::deployments
