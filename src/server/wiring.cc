#include "server/wiring.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "access/access.h"
#include "api/http/guard.h"
#include "api/http/openapi.h"
#include "api/http/router.h"
#include "api/http/server.h"
#include "api/rest/access.h"
#include "api/rest/events.h"
#include "api/rest/system.h"
#include "base/clock.h"
#include "base/log.h"
#include "events/events.h"
#include "jobs/executor.h"
#include "jobs/jobs.h"
#include "server/data_folder.h"
#include "storage/sql/database.h"

namespace tidemill::server {
namespace {

constexpr const char* kVersion = "0.1.0";

void append(std::vector<http::Route>& routes, std::vector<http::Route> more) {
  for (auto& route : more) routes.push_back(std::move(route));
}

}  // namespace

// A room is added by: a member here (in the order of src/ORDER), its create() in make_rooms, its routes in make_router.
struct Platform::Rooms {
  explicit Rooms(Config config_, DataFolder data_) : config(std::move(config_)), data(std::move(data_)) {}

  Result<void> make_rooms();
  Result<void> make_router();
  Result<void> make_server();

  const Config config;
  const DataFolder data;
  const SystemClock clock;
  const jobs::Executor executor;

  std::unique_ptr<sql::Database> database;
  std::unique_ptr<events::Events> events;
  std::unique_ptr<access::Access> access;
  std::unique_ptr<jobs::Jobs> jobs;

  http::Router router;
  std::string openapi;
  std::optional<http::Guard> guard;
  std::unique_ptr<http::Server> server;
  bool stopped = false;
};

Result<void> Platform::Rooms::make_rooms() {
  database = TM_TRY(sql::Database::open(data / "tidemill.db"));
  events = TM_TRY(events::Events::create(*database, clock));
  access = TM_TRY(access::Access::create(*database, *events, clock, config.settings.access));
  jobs = TM_TRY(jobs::Jobs::create(*database, *events, clock));
  return {};
}

Result<void> Platform::Rooms::make_router() {
  std::vector<http::Route> routes;
  const auto healthy = [this]() -> std::string {
    if (server->draining()) return "stopping";
    return database->healthy() ? "" : "a sync to disk has failed; writes are refused";
  };
  append(routes, rest::system_routes(kVersion, healthy, [this] { return openapi; }));
  append(routes, rest::events_routes(*events));
  append(routes, rest::access_routes(*access));
  TM_CHECK(router.add(std::move(routes)));
  openapi = json::serialize(http::openapi(router, kVersion));
  return {};
}

Result<void> Platform::Rooms::make_server() {
  if (!config.loopback() && !access->has_accounts()) {
    return fail(Code::kFailedPrecondition, "server.no_accounts",
                fmt::format("Without accounts everybody who reaches {} could do everything.", config.host),
                "Start on 127.0.0.1 first and make an admin: tidemill people add NAME --role admin");
  }
  guard.emplace(*access, http::GuardOptions{config.loopback(), config.anonymous_read, config.names});
  server = TM_TRY(http::Server::create(router, *guard, config.host, config.port, data / "uploads", config.settings.http));
  return {};
}

Platform::Platform(std::unique_ptr<Rooms> rooms) : rooms_(std::move(rooms)) {}
Platform::~Platform() { stop(); }

Result<std::unique_ptr<Platform>> Platform::create(const Config& config) {
  auto rooms = std::make_unique<Rooms>(config, TM_TRY(DataFolder::open(config.data)));
  TM_CHECK(rooms->make_rooms());
  TM_CHECK(rooms->make_router());
  TM_CHECK(rooms->make_server());
  return std::unique_ptr<Platform>(new Platform(std::move(rooms)));
}

void Platform::start() {
  rooms_->jobs->start();
  rooms_->server->start();
}

void Platform::stop() {
  if (std::exchange(rooms_->stopped, true)) return;
  rooms_->server->stop();
  rooms_->events->close();
  rooms_->jobs->stop();
}

std::string Platform::url() const {
  const bool six = rooms_->config.host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", six ? "[" : "", rooms_->config.host, six ? "]" : "", rooms_->server->port());
}

}  // namespace tidemill::server
