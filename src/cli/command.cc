#include "cli/command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "base/clock.h"

namespace tidemill::cli {
namespace {

constexpr std::size_t kCellWidthMax = 60;

// Returns the value at a dotted path, or null.
const json::Value* at_path(const json::Value& value, std::string_view path) {
  const json::Value* here = &value;
  while (!path.empty()) {
    const std::size_t dot = path.find('.');
    const std::string_view key = path.substr(0, dot);
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
    const auto* object = here->if_object();
    here = object == nullptr ? nullptr : object->if_contains(key);
    if (here == nullptr) return nullptr;
  }
  return here;
}

std::string cell(const json::Value* value, std::string_view path) {
  if (value == nullptr || value->is_null()) return "-";
  if (value->is_int64() && path.ends_with("_ms") && value->get_int64() > 100'000'000'000) {
    return format_utc(value->get_int64()).substr(0, 19) + "Z";
  }
  if (value->is_string()) return std::string(value->get_string());
  if (value->is_double()) return fmt::format("{:.6g}", value->get_double());
  if (value->is_array()) {
    std::string text;
    for (const auto& item : value->get_array()) text += (text.empty() ? "" : ",") + cell(&item, "");
    return text;
  }
  return json::serialize(*value);
}

// Returns how many columns a terminal gives to UTF-8 text: East Asian wide characters take two.
std::size_t shown_width(std::string_view text) {
  std::size_t width = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80) continue;
    width += byte >= 0xE3 && byte <= 0xEF ? 2 : 1;
  }
  return width;
}

// A name that somebody else chose must not steer the reader's terminal.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  if (text.size() > kCellWidthMax) {
    std::size_t cut = kCellWidthMax - 1;
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
    text = text.substr(0, cut) + "…";
  }
  return text;
}

void print_row(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    line += cells[i];
    if (i + 1 < cells.size()) line += std::string(widths[i] - shown_width(cells[i]) + 2, ' ');
  }
  fmt::print("{}\n", line);
}

}  // namespace

std::string Call::get(const std::string& name, std::string fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() || found->second.empty() ? std::move(fallback) : found->second.front();
}

const std::vector<std::string>& Call::all(const std::string& name) const {
  static const std::vector<std::string> kNone;
  const auto found = values_.find(name);
  return found == values_.end() ? kNone : found->second;
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
  const json::Value* rows = at_path(answer, key);
  std::vector<std::vector<std::string>> lines(1);
  for (const auto& column : columns) lines.front().push_back(column.heading);
  if (rows != nullptr && rows->is_array()) {
    for (const auto& row : rows->get_array()) {
      lines.emplace_back();
      for (const auto& column : columns)
        lines.back().push_back(printable(cell(at_path(row, column.path), column.path)));
    }
  }
  std::vector<std::size_t> widths(columns.size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) widths[i] = std::max(widths[i], shown_width(line[i]));
  }
  for (const auto& line : lines) print_row(line, widths);
  if (lines.size() == 1) note("(none)");
}

void Call::object(const json::Value& answer) const {
  if (as_json_ || !answer.is_object()) {
    fmt::print("{}\n", json::serialize(answer));
    return;
  }
  std::size_t width = 0;
  for (const auto& entry : answer.get_object()) width = std::max(width, entry.key().size());
  for (const auto& entry : answer.get_object()) {
    const std::string key(entry.key());
    fmt::print("{}{}{}\n", key, std::string(width - key.size() + 2, ' '), cell(&entry.value(), key));
  }
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
