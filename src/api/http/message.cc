#include "api/http/message.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace tidemill::http {
namespace {

constexpr std::size_t kQueryPairsMax = 10'000;

int nibble(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return std::ranges::equal(a, b, {}, lower, lower);
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool plus_is_space) {
  const auto refuse = [&](std::string_view why) {
    return fail(Code::kInvalidArgument, "http.bad_escape", fmt::format("'{}' {}.", text.substr(0, 64), why),
                "Write it in UTF-8 with %XX escapes.");
  };
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      if (i + 2 >= text.size()) return refuse("ends within an escape");
      const int high = nibble(text[i + 1]);
      const int low = nibble(text[i + 2]);
      if (high < 0 || low < 0) return refuse("has a broken escape");
      out.push_back(static_cast<char>(high * 16 + low));
      i += 2;
    } else {
      out.push_back(plus_is_space && text[i] == '+' ? ' ' : text[i]);
    }
  }
  if (out.find('\0') != std::string::npos) return refuse("has a NUL");
  if (!is_utf8(out))
    return fail(Code::kInvalidArgument, "http.not_utf8", "The address is not UTF-8.",
                "Write it in UTF-8 with %XX escapes.");
  return out;
}

Result<Query> Query::parse(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> pairs;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('&'), text.size());
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (pair.empty()) continue;
    if (pairs.size() == kQueryPairsMax) {
      return fail(Code::kTooLarge, "http.long_query", fmt::format("The query has more than {} pairs.", kQueryPairsMax),
                  "Send fewer.");
    }
    const std::size_t equals = pair.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
    pairs.emplace_back(TM_TRY(percent_decode(pair.substr(0, equals), true)), TM_TRY(percent_decode(value, true)));
  }
  return Query(std::move(pairs));
}

std::optional<std::string> Query::get(std::string_view name) const {
  for (const auto& [key, value] : pairs_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<std::string> Query::all(std::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [key, value] : pairs_) {
    if (key == name) values.push_back(value);
  }
  return values;
}

std::optional<std::string_view> Headers::get(std::string_view name) const {
  for (const auto& [key, value] : fields_) {
    if (same_name(key, name)) return value;
  }
  return std::nullopt;
}

const std::string& Request::param(std::string_view name) const {
  static const std::string kNone;
  const auto found = params.find(std::string(name));
  return found == params.end() ? kNone : found->second;
}

Result<std::int64_t> Request::number_param(std::string_view name) const {
  const std::string& text = param(name);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{} && end == text.data() + text.size() && number >= 1) return number;
  return fail(Code::kInvalidArgument, "http.bad_number",
              fmt::format("The {} in the path must be a whole number from 1, not '{}'.", name, text.substr(0, 64)),
              "Correct it.", {{"name", std::string(name)}});
}

Response Response::json(int status, const json::Value& value) {
  Response response;
  response.status = status;
  response.body = json::serialize(value);
  return response;
}

Response Response::text(int status, std::string text, std::string content_type) {
  Response response;
  response.status = status;
  response.content_type = std::move(content_type);
  response.body = std::move(text);
  return response;
}

Error for_caller(const Error& error) {
  Error told = error;
  const auto path = told.details.find("path");
  if (path == told.details.end() || !path->second.starts_with('/')) return told;
  told.details.erase(path);
  told.message = without_folders(told.message);
  return told;
}

Response Response::error(const Error& from) {
  const Error error = for_caller(from);
  json::Object details;
  for (const auto& [key, value] : error.details) details[key] = value;
  const json::Object body{{"code", code_name(error.code)},
                          {"reason", error.reason},
                          {"message", error.message},
                          {"remedy", error.remedy},
                          {"details", std::move(details)}};
  Response response = json(status_of(error), json::Object{{"error", body}});
  if (response.status == 429 || response.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (response.status == 401)
    response.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"tidemill\", Basic realm=\"tidemill\"");
  return response;
}

int status_of(const Error& error) {
  switch (error.code) {
    case Code::kInvalidArgument:
      return 400;
    case Code::kUnauthenticated:
      return 401;
    case Code::kPermissionDenied:
      return 403;
    case Code::kNotFound:
      return 404;
    case Code::kAlreadyExists:
    case Code::kConflict:
    case Code::kFailedPrecondition:
      return 409;
    case Code::kTooLarge:
      return 413;
    case Code::kExhausted:
      return error.reason == "storage.disk_full" ? 507 : 429;
    case Code::kUnavailable:
      return 503;
    case Code::kUnimplemented:
      return 501;
    case Code::kInternal:
      return 500;
  }
  return 500;
}

}  // namespace tidemill::http
