// From method and path to route.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/route.h"

namespace tidemill::http {

// Built once, then only read: any thread.
class Router {
 public:
  Router();
  ~Router();
  Router(Router&&) noexcept;

  // Takes the routes; kInternal when two of them claim the same method and path.
  [[nodiscard]] Result<void> add(std::vector<Route> routes);

  // Sets who answers a GET that no route takes, except beneath `except` (such as "/api/"), where it stays kNotFound:
  // the console, whose pages have addresses of their own. Its route is in no document.
  void fall_back(Route route, std::vector<std::string> except);

  struct Match {
    const Route* route = nullptr;
    std::map<std::string, std::string> params;
  };
  // Returns the route for a path still in its escaped form, with its parameters decoded. A fixed segment wins over
  // {name}, that over {name...}. HEAD finds what GET finds. kNotFound "http.no_route"; kUnimplemented
  // "http.wrong_method" whose details name the allowed methods; kInvalidArgument for broken escapes.
  [[nodiscard]] Result<Match> match(Method method, std::string_view escaped_path) const;

  // Every route, in the order added.
  [[nodiscard]] const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }
  // The one of fall_back(), or null.
  [[nodiscard]] const Route* fallback() const { return fallback_.get(); }

 private:
  struct Node;
  const Node* descend(const Node& node, const std::vector<std::string_view>& segments, std::size_t depth,
                      std::vector<std::string>& values) const;
  [[nodiscard]] bool falls_back(Method method, std::string_view escaped_path) const;

  std::vector<std::unique_ptr<Route>> routes_;
  std::unique_ptr<Node> root_;
  std::unique_ptr<Route> fallback_;
  std::vector<std::string> no_fallback_;
};

// Returns the method's name as HTTP spells it.
[[nodiscard]] std::string_view method_name(Method method);

}  // namespace tidemill::http
