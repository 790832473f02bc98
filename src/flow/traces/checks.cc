#include "flow/traces/checks.h"

#include <fmt/format.h>

#include <algorithm>

namespace tidemill::traces {
namespace {

constexpr std::size_t kIdCharsMax = 64;
constexpr std::string_view kEllipsis = "...";

bool is_id_char(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
         c == '.' || c == ':';
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

}  // namespace

Result<TraceId> TraceId::parse(std::string_view text) {
  const bool dots = text == "." || text == "..";
  if (text.empty() || text.size() > kIdCharsMax || dots || !std::ranges::all_of(text, is_id_char)) {
    return invalid(fmt::format("'{}' is not an id of a trace.", text.substr(0, kIdCharsMax)),
                   "Give 1 to 64 letters, digits, '-', '_', '.' or ':'.");
  }
  return TraceId(std::string(text));
}

std::unexpected<Error> invalid(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "traces.invalid", std::move(message), std::move(remedy));
}

std::unexpected<Error> unknown_trace(const TraceId& id) {
  return fail(Code::kNotFound, "traces.unknown", fmt::format("Trace with ID '{}' not found.", id.str()),
              "Search the traces of its experiment.", {{"trace", id.str()}});
}

Result<void> check_key(std::string_view key, const Limits& limits) {
  const auto chars = std::ranges::count_if(key, starts_character);
  if (key.empty()) return invalid("Missing value for required parameter 'key'.", "Give it a name.");
  if (chars > limits.key_chars_max) {
    return invalid(
        fmt::format("'key' exceeds the maximum length of {} characters: it has {}.", limits.key_chars_max, chars),
        "Shorten it.");
  }
  return {};
}

std::string cut(std::string_view text, std::int64_t chars_max) {
  if (static_cast<std::int64_t>(text.size()) <= chars_max) return std::string(text);
  if (std::ranges::count_if(text, starts_character) <= chars_max) return std::string(text);
  std::int64_t left = std::max<std::int64_t>(chars_max - static_cast<std::int64_t>(kEllipsis.size()), 0) + 1;
  std::size_t end = 0;
  for (; end < text.size(); ++end) {
    if (starts_character(text[end]) && --left == 0) break;
  }
  return std::string(text.substr(0, end)) + std::string(kEllipsis);
}

}  // namespace tidemill::traces
