#include "cli/command.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>

namespace tidemill::cli {

std::string Call::get(const std::string& name, std::string fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() || found->second.empty() ? std::move(fallback) : found->second.front();
}

const std::vector<std::string>& Call::all(const std::string& name) const {
  static const std::vector<std::string> kNone;
  const auto found = values_.find(name);
  return found == values_.end() ? kNone : found->second;
}

Query Call::query(std::initializer_list<std::string> names) const {
  Query query;
  for (const std::string& name : names) {
    if (has("--" + name)) query.emplace_back(name, get("--" + name));
  }
  return query;
}

Result<std::int64_t> Call::integer(const std::string& name, std::int64_t fallback) const {
  if (!has(name)) return fallback;
  const std::string text = get(name);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  return fail(Code::kInvalidArgument, "cli.not_a_number",
              fmt::format("{} must be a whole number, not '{}'.", name, text), "Correct it.");
}

void Call::table(const json::Value& answer, std::string_view key, const std::vector<Column>& columns) const {
  if (as_json_) {
    fmt::print("{}\n", json::serialize(answer));
    return;
  }
  const std::string text = table_text(at_path(answer, key), columns);
  fmt::print("{}", text);
  if (text.empty()) note("(none)");
}

void Call::object(const json::Value& answer) const {
  if (as_json_ || !answer.is_object()) {
    fmt::print("{}\n", json::serialize(answer));
    return;
  }
  fmt::print("{}", object_text(answer.get_object()));
}

void Call::say(const std::string& sentence, const json::Value& answer) const {
  fmt::print("{}\n", as_json_ ? json::serialize(answer) : sentence);
}

void Call::note(const std::string& sentence) const { fmt::print(stderr, "{}\n", sentence); }

int exit_code(const Error& error) {
  switch (error.code) {
    case Code::kInvalidArgument:
      return error.reason.starts_with("cli.") ? kExitUsage : kExitFailed;
    case Code::kNotFound:
      return kExitNotFound;
    case Code::kUnauthenticated:
    case Code::kPermissionDenied:
      return kExitRefused;
    case Code::kAlreadyExists:
    case Code::kConflict:
      return kExitConflict;
    case Code::kFailedPrecondition:
      return kExitGate;
    case Code::kUnavailable:
      return kExitUnreachable;
    default:
      return kExitFailed;
  }
}

}  // namespace tidemill::cli
