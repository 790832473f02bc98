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
#include "api/rest/pipelines.h"
#include "api/rest/system.h"
#include "api/rest/triggers.h"
#include "base/clock.h"
#include "base/log.h"
#include "events/events.h"
#include "flow/pipelines/pipelines.h"
#include "flow/triggers/triggers.h"
#include "jobs/executor.h"
#include "jobs/jobs.h"
#include "server/data_folder.h"
#include "storage/blobs/store.h"
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
  [[nodiscard]] std::string url() const;

  const Config config;
  const DataFolder data;
  const SystemClock clock;
  const jobs::Executor executor;

  std::unique_ptr<sql::Database> database;
  std::unique_ptr<blobs::Store> blobs;
  std::unique_ptr<events::Events> events;
  std::unique_ptr<access::Access> access;
  std::unique_ptr<jobs::Jobs> jobs;
  std::unique_ptr<pipelines::Pipelines> pipelines;
  std::unique_ptr<triggers::Triggers> triggers;

  http::Router router;
  std::string openapi;
  std::optional<http::Guard> guard;
  std::unique_ptr<http::Server> server;
  bool stopped = false;
};

Result<void> Platform::Rooms::make_rooms() {
  database = TM_TRY(sql::Database::open(data / "tidemill.db"));
  blobs = TM_TRY(blobs::LocalStore::create(data / "blobs"));
  events = TM_TRY(events::Events::create(*database, clock));
  access = TM_TRY(access::Access::create(*database, *events, clock, config.settings.access));
  jobs = TM_TRY(jobs::Jobs::create(*database, *events, clock, config.settings.jobs));
  pipelines::Options steps;
  steps.folder = data / "pipelines";
  steps.python = config.python;
  steps.url = [this] { return url(); };
  steps.limits = config.settings.pipelines;
  pipelines = TM_TRY(pipelines::Pipelines::create(*database, *events, *access, *jobs, *blobs, clock, std::move(steps)));
  triggers = TM_TRY(triggers::Triggers::create(*database, *events, *pipelines, clock));
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
  append(routes, rest::pipelines_routes(*pipelines, *blobs));
  append(routes, rest::triggers_routes(*triggers));
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
  server =
      TM_TRY(http::Server::create(router, *guard, config.host, config.port, data / "uploads", config.settings.http));
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
  rooms_->triggers->start();
  rooms_->server->start();
}

void Platform::stop() {
  if (std::exchange(rooms_->stopped, true)) return;
  rooms_->server->stop();
  rooms_->events->close();
  rooms_->triggers->stop();
  rooms_->jobs->stop();
}

std::string Platform::Rooms::url() const {
  const bool six = config.host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", six ? "[" : "", config.host, six ? "]" : "", server->port());
}

std::string Platform::url() const { return rooms_->url(); }

}  // namespace tidemill::server
