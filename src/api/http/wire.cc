#include "api/http/wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

namespace tidemill::http {
namespace {

struct Phrase {
  int status;
  std::string_view text;
};

constexpr std::array<Phrase, 30> kPhrases{{{200, "OK"},
                                           {201, "Created"},
                                           {202, "Accepted"},
                                           {204, "No Content"},
                                           {206, "Partial Content"},
                                           {301, "Moved Permanently"},
                                           {302, "Found"},
                                           {303, "See Other"},
                                           {304, "Not Modified"},
                                           {307, "Temporary Redirect"},
                                           {308, "Permanent Redirect"},
                                           {400, "Bad Request"},
                                           {401, "Unauthorized"},
                                           {403, "Forbidden"},
                                           {404, "Not Found"},
                                           {405, "Method Not Allowed"},
                                           {408, "Request Timeout"},
                                           {409, "Conflict"},
                                           {412, "Precondition Failed"},
                                           {413, "Content Too Large"},
                                           {415, "Unsupported Media Type"},
                                           {416, "Range Not Satisfiable"},
                                           {417, "Expectation Failed"},
                                           {422, "Unprocessable Content"},
                                           {429, "Too Many Requests"},
                                           {431, "Request Header Fields Too Large"},
                                           {500, "Internal Server Error"},
                                           {501, "Not Implemented"},
                                           {503, "Service Unavailable"},
                                           {507, "Insufficient Storage"}}};

bool is_plain(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 && c != '\t'; });
}

std::optional<std::uint64_t> whole_number(std::string_view digits) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string_view reason_phrase(int status) {
  const auto* found = std::ranges::find(kPhrases, status, &Phrase::status);
  return found == kPhrases.end() ? std::string_view() : found->text;
}

std::string head_of(const Response& response, const HeadContext& context, std::optional<std::uint64_t> length) {
  fmt::memory_buffer head;
  const auto out = std::back_inserter(head);
  fmt::format_to(out, "HTTP/1.1 {} {}\r\nDate: {}\r\nX-Request-Id: {}\r\nX-Content-Type-Options: nosniff\r\n",
                 response.status, reason_phrase(response.status), context.date, context.request_id);
  if (length) fmt::format_to(out, "Content-Length: {}\r\n", *length);
  if (response.status != 204 && response.status != 304 && is_plain(response.content_type)) {
    fmt::format_to(out, "Content-Type: {}\r\n", response.content_type);
  }
  if (!context.keep_alive) {
    fmt::format_to(out, "Connection: close\r\n");
  } else if (context.http_1_0) {
    fmt::format_to(out, "Connection: keep-alive\r\n");
  }
  for (const auto& [name, value] : response.headers) {
    if (is_plain(name) && is_plain(value)) fmt::format_to(out, "{}: {}\r\n", name, value);
  }
  fmt::format_to(out, "\r\n");
  return fmt::to_string(head);
}

std::optional<Range> parse_range(std::string_view text, std::uint64_t bytes, bool* satisfiable) {
  *satisfiable = true;
  constexpr std::string_view kUnit = "bytes=";
  if (!text.starts_with(kUnit)) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos || text.find(',') != std::string_view::npos) return std::nullopt;
  const auto first = whole_number(text.substr(0, dash));
  const auto last = whole_number(text.substr(dash + 1));
  const std::uint64_t end = bytes == 0 ? 0 : bytes - 1;
  if (dash == 0) {
    if (!last) return std::nullopt;
    *satisfiable = *last > 0 && bytes > 0;
    return Range{bytes - std::min(*last, bytes), end};
  }
  if (!first || (text.size() > dash + 1 && !last) || (last && *last < *first)) return std::nullopt;
  *satisfiable = *first < bytes;
  return Range{*first, std::min(last.value_or(end), end)};
}

std::string http_date(std::int64_t at_s) {
  constexpr std::array<const char*, 7> kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t at = at_s;
  std::tm parts{};
  gmtime_r(&at, &parts);
  return fmt::format("{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[static_cast<std::size_t>(parts.tm_wday)],
                     parts.tm_mday, kMonths[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

}  // namespace tidemill::http
