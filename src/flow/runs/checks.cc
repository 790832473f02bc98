#include "flow/runs/checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace tidemill::runs {
namespace {

constexpr std::size_t kShownBytesMax = 128;
constexpr std::string_view kModelPrefix = "m-";

// MLflow's rule is the \w of Python's regular expressions, which takes the letters of every script. Here every
// character beyond ASCII is taken: telling letters from signs would need Unicode's tables and would protect nothing.
bool is_key_character(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         std::string_view("_-.:/ ").contains(c);
}

// Returns whether a key, read as a path, is one that normalising would not change.
bool leads_to_itself(std::string_view key) {
  if (key.starts_with('/') || key.ends_with('/')) return false;
  while (true) {
    const std::size_t end = std::min(key.find('/'), key.size());
    const std::string_view part = key.substr(0, end);
    if (part.empty() || part == "." || part == "..") return false;
    if (end == key.size()) return true;
    key.remove_prefix(end + 1);
  }
}

}  // namespace

Result<ExperimentId> ExperimentId::parse(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size() && number >= 0) return ExperimentId(number);
  return invalid(fmt::format("'{}' is not the id of an experiment.", text.substr(0, kShownBytesMax)),
                 "Give its number.");
}

Result<LoggedModelId> LoggedModelId::parse(std::string_view text) {
  if (text.starts_with(kModelPrefix) && is_hex_id(text.substr(kModelPrefix.size())))
    return LoggedModelId(std::string(text));
  return fail(Code::kNotFound, "logged_models.unknown",
              fmt::format("There is no logged model '{}'.", text.substr(0, kShownBytesMax)),
              "Give the id that logging it returned.");
}

std::unexpected<Error> invalid(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "runs.invalid", std::move(message), std::move(remedy));
}

std::unexpected<Error> unknown_run(const RunId& id) {
  return fail(Code::kNotFound, "runs.unknown", fmt::format("Run '{}' not found.", id.str()),
              "Search the runs of its experiment.", {{"run", id.str()}});
}

std::unexpected<Error> unknown_experiment(std::string_view id) {
  return fail(Code::kNotFound, "experiments.unknown",
              fmt::format("There is no experiment '{}'.", id.substr(0, kShownBytesMax)), "Search the experiments.",
              {{"experiment", std::string(id)}});
}

std::int64_t characters(std::string_view text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

Result<void> check_length(std::string_view where, std::string_view text, std::int64_t characters_max) {
  const auto length = static_cast<std::int64_t>(text.size()) <= characters_max ? 0 : characters(text);
  if (length <= characters_max) return {};
  return fail(
      Code::kInvalidArgument, "runs.too_long",
      fmt::format("'{}' exceeds the maximum length of {} characters: it has {}.", where, characters_max, length),
      "Shorten it.", {{"field", std::string(where)}, {"max", std::to_string(characters_max)}});
}

Result<void> check_key(std::string_view where, std::string_view key, const Limits& limits) {
  if (key.empty()) return invalid(fmt::format("'{}' is empty.", where), "Give it a name.");
  TM_CHECK(check_length(where, key, limits.key_chars_max));
  if (!std::ranges::all_of(key, is_key_character)) {
    return invalid(
        fmt::format(
            "Invalid value \"{}\" for parameter '{}' supplied: Names may only contain alphanumerics, underscores (_), "
            "dashes (-), periods (.), spaces ( ), colon(:) and slashes (/).",
            key.substr(0, kShownBytesMax), where),
        "Rename it.");
  }
  if (!leads_to_itself(key)) {
    return invalid(fmt::format("Invalid value \"{}\" for parameter '{}' supplied: Names may be treated as files in "
                               "certain cases, and must "
                               "not resolve to other names when treated as such.",
                               key.substr(0, kShownBytesMax), where),
                   "Leave out empty parts, '.' and '..'.");
  }
  return {};
}

Result<void> check_experiment_name(std::string_view name, const Limits& limits) {
  if (name.empty()) return invalid("Invalid experiment name: ''.", "Give the experiment a name.");
  return check_length("name", name, limits.experiment_name_chars_max);
}

}  // namespace tidemill::runs
