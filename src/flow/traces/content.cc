#include "flow/traces/content.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "flow/traces/checks.h"

namespace tidemill::traces {
namespace {

constexpr std::size_t kDepthMax = 256;  // far above nesting_max; what was written is read

struct Content {
  json::Object attributes;
  std::vector<SpanEvent> events;
  std::vector<SpanLink> links;
  std::string message;
};
BOOST_DESCRIBE_STRUCT(Content, (), (attributes, events, links, message))

bool nests_within(const json::Value& value, std::int64_t levels) {
  const auto within = [&](const json::Value& inner) { return nests_within(inner, levels - 1); };
  if (const auto* array = value.if_array()) return levels > 0 && std::ranges::all_of(*array, within);
  if (const auto* object = value.if_object()) {
    return levels > 0 && std::ranges::all_of(*object, [&](const auto& pair) { return within(pair.value()); });
  }
  return true;
}

}  // namespace

std::string content_of(const Span& span) {
  return json::encode(Content{span.attributes, span.events, span.links, span.status_message});
}

Result<void> read_content(std::string_view content, Span& span) {
  Content read = TM_TRY(json::decode<Content>(content, {kDepthMax, content.size()}));
  span.attributes = std::move(read.attributes);
  span.events = std::move(read.events);
  span.links = std::move(read.links);
  span.status_message = std::move(read.message);
  return {};
}

Result<void> check_nesting(const json::Object& attributes, std::int64_t nesting_max) {
  for (const auto& pair : attributes) {
    if (nests_within(pair.value(), nesting_max)) continue;
    return invalid(fmt::format("The attribute '{}' nests deeper than {} levels.",
                               std::string_view(pair.key()).substr(0, 250), nesting_max),
                   "Log it as text.");
  }
  return {};
}

}  // namespace tidemill::traces
