#include "api/rest/system.h"

#include <utility>

#include "base/metrics.h"

namespace tidemill::rest {

std::vector<http::Route> system_routes(std::function<std::string(const http::Request&)> version,
                                       std::function<std::string()> healthy, std::function<std::string()> openapi) {
  using access::Right;
  const http::Options text{.run = http::Run::inline_io, .content_type = "text/plain"};
  std::vector<http::Route> routes;
  routes.push_back(http::raw(
      http::Method::get, "/health", Right::open, "OK, or what is wrong", http::Body::none,
      [healthy = std::move(healthy)](http::Request&&, const http::Done& done) {
        const std::string fault = healthy();
        done(fault.empty() ? http::Response::text(200, "OK") : http::Response::text(503, fault));
      },
      text));
  routes.push_back(http::raw(
      http::Method::get, "/version", Right::open, "The server's version", http::Body::none,
      [version = std::move(version)](const http::Request& request, const http::Done& done) {
        done(http::Response::text(200, version(request)));
      },
      text));
  routes.push_back(
      http::raw(http::Method::get, "/metrics", Right::read, "Metrics for Prometheus", http::Body::none,
                [](http::Request&&, const http::Done& done) {
                  done(http::Response::text(200, metrics::text(), "text/plain; version=0.0.4; charset=utf-8"));
                },
                {.content_type = "text/plain"}));
  routes.push_back(http::raw(http::Method::get, "/api/openapi.json", Right::open, "This document", http::Body::none,
                             [openapi = std::move(openapi)](http::Request&&, const http::Done& done) {
                               http::Response response;
                               response.body = openapi();
                               done(std::move(response));
                             }));
  return routes;
}

}  // namespace tidemill::rest
