#include "api/http/guard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/base64.h"

namespace tidemill::http {
namespace {

constexpr std::string_view kBearer = "Bearer ";
constexpr std::string_view kBasic = "Basic ";

bool starts_with_scheme(std::string_view value, std::string_view scheme) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return value.size() >= scheme.size() && std::ranges::equal(value.substr(0, scheme.size()), scheme, {}, lower, lower);
}

// Padding may not be missing here.
std::optional<std::string> decode_strictly(std::string_view text) {
  if (text.size() % 4 != 0 || text.ends_with("===")) return std::nullopt;
  return decode_base64(text);
}

// Returns "name" of "name:port", "[::1]" of "[::1]:port".
std::string_view host_name(std::string_view host) {
  if (host.starts_with('[')) return host.substr(0, std::min(host.find(']'), host.size() - 1) + 1);
  return host.substr(0, host.find(':'));
}

bool changes_state(Method method) { return method != Method::get && method != Method::head; }

struct Credentials {
  std::string name;  // empty: a bearer token
  std::string secret;
};

std::optional<Credentials> credentials_of(const Request& request) {
  const auto header = request.headers.get("Authorization");
  if (!header) return std::nullopt;
  if (starts_with_scheme(*header, kBearer)) return Credentials{"", std::string(header->substr(kBearer.size()))};
  if (starts_with_scheme(*header, kBasic)) {
    const auto text = decode_strictly(header->substr(kBasic.size()));
    if (text && text->find(':') != std::string::npos) {
      return Credentials{text->substr(0, text->find(':')), text->substr(text->find(':') + 1)};
    }
  }
  return Credentials{"", ""};  // something that cannot be right
}

Result<access::Actor> with_right(Result<access::Actor> actor, access::Right right) {
  if (!actor || actor->has(right)) return actor;
  return fail(Code::kPermissionDenied, "access.no_right",
              fmt::format("'{}' lacks the right to {} that this needs.", actor->name, enum_name(right)),
              "Ask an admin for a role that grants it.",
              {{"actor", actor->name}, {"right", std::string(enum_name(right))}});
}

}  // namespace

Result<access::Actor> Guard::check(const Request& request, access::Right right) const {
  if (auto now = check_now(request, right)) return *std::move(now);
  const auto credentials = credentials_of(request);
  return with_right(credentials->name.empty() ? access_.authenticate_bearer(credentials->secret)
                                              : access_.authenticate_basic(credentials->name, credentials->secret),
                    right);
}

std::optional<Result<access::Actor>> Guard::check_now(const Request& request, access::Right right) const {
  if (auto good = check_host(request); !good) return fail(std::move(good).error());
  if (auto good = check_origin(request); !good) return fail(std::move(good).error());
  // What is open is open to whoever comes: a health check with a stale token must not fail, nor cost a hash.
  if (right == access::Right::open) return access::Actor{"nobody", {}};
  const auto credentials = credentials_of(request);
  if (!credentials) return with_right(unsigned_actor(right), right);
  if (!credentials->name.empty() && !credentials->secret.starts_with("tm_")) return std::nullopt;
  auto actor = access_.known_bearer(credentials->secret);
  if (!actor || (!credentials->name.empty() && actor->name != credentials->name)) return std::nullopt;
  return with_right(*std::move(actor), right);
}

Result<void> Guard::check_host(const Request& request) const {
  const auto host = request.headers.get("Host");
  if (!host) {
    return fail(Code::kInvalidArgument, "http.no_host", "The request has no Host header.",
                "Send one, as HTTP/1.1 asks.");
  }
  // A page that a browser loaded from elsewhere can be made to resolve to this machine; its requests still carry its
  // own name.
  if (!options_.loopback && options_.names.empty()) return {};
  constexpr std::array<std::string_view, 3> kLocal{"127.0.0.1", "localhost", "[::1]"};
  const std::string_view name = host_name(*host);
  if (options_.loopback && std::ranges::find(kLocal, name) != kLocal.end()) return {};
  if (std::ranges::find(options_.names, name) != options_.names.end()) return {};
  return fail(Code::kPermissionDenied, "http.foreign_host",
              fmt::format("This server is not called '{}'.", name.substr(0, 128)),
              "Use its own address, or name it with --name.");
}

Result<void> Guard::check_origin(const Request& request) {
  const auto origin = request.headers.get("Origin");
  if (!origin || !changes_state(request.method)) return {};
  const std::size_t scheme = origin->find("://");
  const auto host = request.headers.get("Host");
  if (scheme != std::string_view::npos && host && origin->substr(scheme + 3) == *host) return {};
  return fail(Code::kPermissionDenied, "http.foreign_origin",
              fmt::format("A page of '{}' may not change anything here.", origin->substr(0, 128)),
              "Use the console of this server.");
}

Result<access::Actor> Guard::unsigned_actor(access::Right right) const {
  if (options_.loopback && !access_.has_accounts()) return access::local_actor();
  if (options_.loopback && options_.anonymous_read && right == access::Right::read) return access::visitor_actor();
  return fail(Code::kUnauthenticated, "access.sign_in", "This needs somebody to sign in.",
              "Send a token: Authorization: Bearer …, or set TIDEMILL_TOKEN.");
}

}  // namespace tidemill::http
