#include "api/http/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tidemill::http {
namespace {

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> segments;
  if (path.starts_with('/')) path.remove_prefix(1);
  while (true) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

bool is_param(std::string_view segment) {
  return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}
bool is_rest(std::string_view segment) { return is_param(segment) && segment.ends_with("...}"); }

std::string param_name(std::string_view segment) {
  segment = segment.substr(1, segment.size() - 2);
  if (segment.ends_with("...")) segment.remove_suffix(3);
  return std::string(segment);
}

std::vector<std::string> param_names(std::string_view path) {
  std::vector<std::string> names;
  for (const auto segment : split(path)) {
    if (is_param(segment)) names.push_back(param_name(segment));
  }
  return names;
}

}  // namespace

// One segment of the tree of paths.
struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> fixed;
  std::unique_ptr<Node> param;
  std::unique_ptr<Node> rest;
  std::map<Method, const Route*> routes;  // that end here
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;

std::string_view method_name(Method method) {
  switch (method) {
    case Method::get:
      return "GET";
    case Method::head:
      return "HEAD";
    case Method::post:
      return "POST";
    case Method::put:
      return "PUT";
    case Method::patch:
      return "PATCH";
    case Method::del:
      return "DELETE";
  }
  return "GET";
}

Result<void> Router::add(std::vector<Route> routes) {
  for (auto& route : routes) {
    Node* node = root_.get();
    for (const auto segment : split(route.path)) {
      std::unique_ptr<Node>& next = is_rest(segment)    ? node->rest
                                    : is_param(segment) ? node->param
                                                        : node->fixed[std::string(segment)];
      if (next == nullptr) next = std::make_unique<Node>();
      node = next.get();
    }
    routes_.push_back(std::make_unique<Route>(std::move(route)));
    const Route& kept = *routes_.back();
    if (!node->routes.emplace(kept.method, &kept).second) {
      return fail(Code::kInternal, "http.route_twice",
                  fmt::format("{} {} is routed twice.", method_name(kept.method), kept.path));
    }
  }
  return {};
}

void Router::fall_back(Route route, std::vector<std::string> except) {
  fallback_ = std::make_unique<Route>(std::move(route));
  no_fallback_ = std::move(except);
}

bool Router::falls_back(Method method, std::string_view escaped_path) const {
  if (fallback_ == nullptr || (method != Method::get && method != Method::head)) return false;
  return std::ranges::none_of(no_fallback_,
                              [&](const std::string& prefix) { return escaped_path.starts_with(prefix); });
}

// Depth first, fixed before param before rest; `values` holds what the params on the way stand for, still escaped.
const Router::Node* Router::descend(const Node& node, const std::vector<std::string_view>& segments, std::size_t depth,
                                    std::vector<std::string>& values) const {
  if (depth == segments.size()) return node.routes.empty() ? nullptr : &node;
  if (const auto found = node.fixed.find(segments[depth]); found != node.fixed.end()) {
    if (const Node* end = descend(*found->second, segments, depth + 1, values)) return end;
  }
  if (node.param != nullptr && !segments[depth].empty()) {
    values.emplace_back(segments[depth]);
    if (const Node* end = descend(*node.param, segments, depth + 1, values)) return end;
    values.pop_back();
  }
  if (node.rest != nullptr) {
    const char* begin = segments[depth].data();
    const char* end = segments.back().data() + segments.back().size();
    values.emplace_back(begin, static_cast<std::size_t>(end - begin));
    return node.rest.get();
  }
  return nullptr;
}

Result<Router::Match> Router::match(Method method, std::string_view escaped_path) const {
  std::vector<std::string> values;
  const Node* node = descend(*root_, split(escaped_path), 0, values);
  if (node == nullptr && falls_back(method, escaped_path)) return Match{fallback_.get(), {}};
  if (node == nullptr) {
    return fail(Code::kNotFound, "http.no_route", fmt::format("There is nothing at '{}'.", escaped_path.substr(0, 200)),
                "See /api/openapi.json for what there is.");
  }
  auto found = node->routes.find(method);
  if (found == node->routes.end() && method == Method::head) found = node->routes.find(Method::get);
  if (found == node->routes.end()) {
    std::string allowed;
    for (const auto& [known, route] : node->routes)
      allowed += (allowed.empty() ? "" : ", ") + std::string(method_name(known));
    return fail(Code::kUnimplemented, "http.wrong_method",
                fmt::format("'{}' does not take {}.", escaped_path.substr(0, 200), method_name(method)),
                fmt::format("It takes {}.", allowed), {{"allow", allowed}});
  }
  Match match;
  match.route = found->second;
  const auto names = param_names(match.route->path);
  for (std::size_t i = 0; i < names.size() && i < values.size(); ++i)
    match.params[names[i]] = TM_TRY(percent_decode(values[i]));
  return match;
}

}  // namespace tidemill::http
