#include "api/rest/monitors.h"

#include <optional>
#include <utility>

namespace tidemill::rest {
namespace {

struct MonitorList {
  std::vector<monitors::Monitor> monitors;
};
BOOST_DESCRIBE_STRUCT(MonitorList, (), (monitors))

struct WindowList {
  std::vector<monitors::Window> windows;
  std::optional<monitors::Upcoming> next;  // the open one
};
BOOST_DESCRIBE_STRUCT(WindowList, (), (windows, next))

struct Checked {
  std::int64_t windows_closed = 0;
};
BOOST_DESCRIBE_STRUCT(Checked, (), (windows_closed))

struct Nothing {
  using json_defaults = void;
};
BOOST_DESCRIBE_STRUCT(Nothing, (), ())

}  // namespace

std::vector<http::Route> monitors_routes(monitors::Monitors& monitors) {
  using access::Right;
  std::vector<http::Route> routes;
  routes.push_back(http::get<MonitorList>(
      "/api/monitors", Right::read, "List monitors",
      [&monitors](const http::Request&) -> Result<MonitorList> { return MonitorList{TM_TRY(monitors.list())}; }));
  routes.push_back(http::post<monitors::NewMonitor, monitors::Monitor>(
      "/api/monitors", Right::write, "Watch a deployment",
      [&monitors](const http::Request& request, const monitors::NewMonitor& monitor) {
        return monitors.add(request.actor, monitor);
      },
      {.status = 201}));
  routes.push_back(http::get<monitors::Monitor>(
      "/api/monitors/{monitor}", Right::read, "Show a monitor",
      [&monitors](const http::Request& request) { return monitors.get(request.param("monitor")); }));
  routes.push_back(http::get<WindowList>("/api/monitors/{monitor}/windows", Right::read,
                                         "List closed windows, oldest first, and say when the open one closes",
                                         [&monitors](const http::Request& request) -> Result<WindowList> {
                                           const std::string& name = request.param("monitor");
                                           auto windows = TM_TRY(monitors.windows(name));
                                           return WindowList{std::move(windows), TM_TRY(monitors.upcoming(name))};
                                         }));
  routes.push_back(http::post<Nothing, Checked>(
      "/api/monitors/check", Right::write, "Close what is over and judge canaries now",
      [&monitors](const http::Request&, Nothing) -> Result<Checked> { return Checked{TM_TRY(monitors.check())}; }));
  return routes;
}

}  // namespace tidemill::rest
