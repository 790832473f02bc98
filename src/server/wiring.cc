#include "server/wiring.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <utility>

#include "access/access.h"
#include "access/seal.h"
#include "api/http/guard.h"
#include "api/http/openapi.h"
#include "api/http/router.h"
#include "api/http/server.h"
#include "api/mlflow/mlflow.h"
#include "api/oip/oip.h"
#include "api/rest/access.h"
#include "api/rest/console.h"
#include "api/rest/datasets.h"
#include "api/rest/deployments.h"
#include "api/rest/events.h"
#include "api/rest/features.h"
#include "api/rest/lineage.h"
#include "api/rest/loop.h"
#include "api/rest/models.h"
#include "api/rest/monitors.h"
#include "api/rest/pipelines.h"
#include "api/rest/predictions.h"
#include "api/rest/requirements.h"
#include "api/rest/runs.h"
#include "api/rest/system.h"
#include "api/rest/traces.h"
#include "api/rest/triggers.h"
#include "api/rest/webhooks.h"
#include "base/clock.h"
#include "base/enums.h"
#include "base/log.h"
#include "events/events.h"
#include "flow/datasets/datasets.h"
#include "flow/deployments/deployments.h"
#include "flow/deployments/steps.h"
#include "flow/features/features.h"
#include "flow/models/models.h"
#include "flow/models/steps.h"
#include "flow/monitors/monitors.h"
#include "flow/pipelines/pipelines.h"
#include "flow/predictions/predictions.h"
#include "flow/requirements/requirements.h"
#include "flow/runs/runs.h"
#include "flow/traces/traces.h"
#include "flow/triggers/triggers.h"
#include "jobs/executor.h"
#include "jobs/jobs.h"
#include "jobs/sandbox.h"
#include "runtimes/probe.h"
#include "runtimes/runtime.h"
#include "server/console_assets.h"
#include "server/data_folder.h"
#include "server/maintenance.h"
#include "storage/blobs/s3.h"
#include "storage/blobs/store.h"
#include "storage/kv/kv.h"
#include "storage/sql/database.h"
#include "storage/tables/tables.h"
#include "webhooks/webhooks.h"

namespace tidemill::server {
namespace {

constexpr const char* kVersion = "0.1.0";

// Where services of the machine can be asked to start programs outside of any sandbox, as the server's user.
constexpr std::array kSessionFolders{"/run/user", "/run/dbus"};

void append(std::vector<http::Route>& routes, std::vector<http::Route> more) {
  for (auto& route : more) routes.push_back(std::move(route));
}

}  // namespace

// A room is added by: a member here (in the order of src/ORDER), its create() in make_rooms, its routes in make_router.
struct Platform::Rooms {
  explicit Rooms(Config config_, DataFolder data_) : config(std::move(config_)), data(std::move(data_)) {}

  Result<void> make_rooms();
  Result<void> find_sandbox();
  void make_runtime();
  Result<void> make_serving();
  void lend_steps();
  Result<void> make_router();
  Result<void> make_server();
  [[nodiscard]] std::string url() const;

  const Config config;
  const DataFolder data;
  const SystemClock clock;
  const jobs::Executor executor;
  jobs::Sandbox sandbox;  // of steps and probes

  std::unique_ptr<sql::Database> database;
  std::unique_ptr<blobs::Store> blobs;
  std::unique_ptr<kv::Kv> online;
  std::unique_ptr<tables::Tables> tables;
  std::unique_ptr<events::Events> events;
  std::unique_ptr<access::Access> access;
  std::unique_ptr<jobs::Jobs> jobs;
  std::optional<access::Seal> seal;
  std::optional<outgoing::Client> outgoing;
  std::unique_ptr<webhooks::Webhooks> webhooks;
  std::shared_ptr<runtimes::Runtime> runtime;
  std::optional<runtimes::Prober> prober;
  std::unique_ptr<requirements::Requirements> requirements;
  std::unique_ptr<datasets::Datasets> datasets;
  std::unique_ptr<features::Features> features;
  std::unique_ptr<pipelines::Pipelines> pipelines;
  std::unique_ptr<runs::Runs> runs;
  std::unique_ptr<traces::Traces> traces;
  std::unique_ptr<models::Models> models;
  std::unique_ptr<deployments::Deployments> deployments;
  std::unique_ptr<predictions::Predictions> predictions;
  std::unique_ptr<monitors::Monitors> monitors;
  std::unique_ptr<triggers::Triggers> triggers;

  http::Router router;
  std::string openapi;
  std::optional<http::Guard> guard;
  std::unique_ptr<http::Server> server;
  bool stopped = false;
};

Result<void> Platform::Rooms::make_rooms() {
  database = TM_TRY(sql::Database::open(data / "tidemill.db"));
  blobs = TM_TRY(config.blobs.empty() ? blobs::LocalStore::create(data / "blobs")
                                      : blobs::S3Store::create(TM_TRY(bucket_of(config)), clock));
  tables::Options rows = config.settings.tables;
  if (!config.libraries.empty()) rows.library = config.libraries / "libduckdb.so";
  rows.folders = {data.path()};
  rows.temporary = data / "cache/tables";
  tables = TM_TRY(tables::Tables::create(std::move(rows)));
  events = TM_TRY(events::Events::create(*database, clock));
  access = TM_TRY(access::Access::create(*database, *events, clock, config.settings.access));
  TM_CHECK(find_sandbox());
  make_runtime();
  online = TM_TRY(kv::Kv::create(data / "online"));
  requirements = TM_TRY(requirements::Requirements::create(*database, *events, clock));
  jobs = TM_TRY(jobs::Jobs::create(*database, *events, clock, config.settings.jobs));
  seal = TM_TRY(access::Seal::create(data / "seal.key"));
  outgoing = TM_TRY(outgoing::Client::create(config.settings.outgoing));
  webhooks = TM_TRY(
      webhooks::Webhooks::create({*database, *events, *jobs, clock, *seal, *outgoing}, config.settings.webhooks));
  datasets = TM_TRY(datasets::Datasets::create(*database, *events, clock, *blobs, *tables, data / "cache/datasets",
                                               config.settings.datasets));
  features = TM_TRY(
      features::Features::create(*database, *events, clock, *online, *tables, *datasets, config.settings.features));
  pipelines::Options steps;
  steps.folder = data / "pipelines";
  steps.python = config.python;
  steps.url = [this] { return url(); };
  steps.limits = config.settings.pipelines;
  steps.sandbox = sandbox;
  pipelines = TM_TRY(pipelines::Pipelines::create(*database, *events, *access, *jobs, *blobs, clock, std::move(steps)));
  TM_CHECK(make_serving());
  triggers = TM_TRY(triggers::Triggers::create(*database, *events, *pipelines, clock));
  lend_steps();
  return {};
}

Result<void> Platform::Rooms::find_sandbox() {
  if (config.steps_sandbox == "off") return {};
  const jobs::SandboxFound found = jobs::find_sandbox(executor, data.path());
  if (found.way == jobs::SandboxWay::none) {
    if (config.steps_sandbox == "required") {
      return fail(
          Code::kFailedPrecondition, "server.no_sandbox",
          fmt::format("Steps of pipelines cannot be shut off from '{}' here. {}", data.path().string(), found.why),
          "Allow user namespaces or run Linux 6.2 or later with Landlock; or start with --steps-sandbox auto.");
    }
    log::warn("server", "steps of pipelines can reach the server's own files: this machine offers no sandbox",
              {{"cause", found.why}});
    return {};
  }
  log::debug("server", "steps are shut off from the data folder", {{"way", std::string(enum_name(found.way))}});
  sandbox.way = found.way;
  sandbox.hidden.push_back(data.path());
  for (const auto* folder : kSessionFolders) sandbox.hidden.emplace_back(folder);
  const std::filesystem::path python(config.python);  // DATA/venv/bin/python needs what lies in DATA/venv
  const auto environment = python.parent_path().parent_path();
  if (python.is_absolute() && python != environment && environment != data.path()) {
    sandbox.readable.push_back(environment);
  }
  return {};
}

void Platform::Rooms::make_runtime() {
  const auto library =
      config.libraries.empty() ? std::filesystem::path() : config.libraries / "libonnxruntime.so.1.32.0";
  auto loaded = runtimes::Runtime::create(library);
  // Without it models can be kept and looked at; testing and serving them answers this very error.
  if (!loaded) log::warn("server", "no runtime for models", {{"cause", loaded.error().text()}});
  if (loaded) runtime = *std::move(loaded);
  prober.emplace(executor, runtime == nullptr ? library : runtime->library(), "/proc/self/exe", runtimes::ProbeLimits(),
                 runtimes::FileLimits(), sandbox);
}

Result<void> Platform::Rooms::make_serving() {
  runs = TM_TRY(runs::Runs::create(*database, *events, *blobs, clock, config.settings.runs));
  traces = TM_TRY(traces::Traces::create(*database, *events, *runs, clock, config.settings.traces));
  models = TM_TRY(models::Models::create(
      {*database, *events, *access, *requirements, *blobs, *tables, clock, runtime, *prober, data / "cache/models"}));
  webhooks->add_form(webhooks::Form::mlflow, mlflow::webhook_words(*models));
  deployments = TM_TRY(deployments::Deployments::create({*database, *events, *access, *models, clock}));
  const auto look_up = [this](const std::string& view, const tables::Frame& rows,
                              const std::vector<std::int64_t>& at_ms) { return features->online(view, rows, at_ms); };
  predictions = TM_TRY(predictions::Predictions::create(
      {*database, *tables, *models, *deployments, clock, data / "predictions", look_up}, config.settings.predictions));
  monitors = TM_TRY(monitors::Monitors::create(
      {*database, *events, *requirements, *models, *deployments, *predictions, clock}, config.settings.monitors));
  return {};
}

// What other rooms offer to pipelines as steps.
void Platform::Rooms::lend_steps() {
  using pipelines::BuiltinCall;
  pipelines->add_builtin("features.training_set", [this](const BuiltinCall& call) {
    return features->training_set_step(call.with, call.outputs);
  });
  pipelines->add_builtin("models.parity",
                         [this](const BuiltinCall& call) { return models::parity_step(*models, call); });
  pipelines->add_builtin("models.register",
                         [this](const BuiltinCall& call) { return models::register_step(*models, call); });
  pipelines->add_builtin("models.gate", [this](const BuiltinCall& call) { return models::gate_step(*models, call); });
  pipelines->add_builtin("deployments.release",
                         [this](const BuiltinCall& call) { return deployments::release_step(*deployments, call); });
}

Result<void> Platform::Rooms::make_router() {
  std::vector<http::Route> routes;
  const auto healthy = [this]() -> std::string {
    if (server->draining()) return "stopping";
    return database->healthy() && predictions->healthy() ? "" : "a sync to disk has failed; writes are refused";
  };
  const auto version = [](const http::Request& request) { return mlflow::version_for(request).value_or(kVersion); };
  append(routes, rest::system_routes(version, healthy, [this] { return openapi; }));
  append(routes, rest::events_routes(*events));
  append(routes, rest::access_routes(*access));
  append(routes, rest::requirements_routes(*requirements));
  append(routes, rest::datasets_routes(*datasets));
  append(routes, rest::features_routes(*features));
  append(routes, rest::pipelines_routes(*pipelines, *blobs));
  append(routes, rest::runs_routes(*runs));
  append(routes, rest::traces_routes(*traces, *runs));
  append(routes, rest::models_routes(*models));
  append(routes, rest::lineage_routes({*runs, *pipelines, *models, *deployments}));
  append(routes, rest::deployments_routes(*deployments, *predictions));
  append(routes, rest::predictions_routes(*predictions));
  append(routes, rest::monitors_routes(*monitors));
  append(routes, rest::triggers_routes(*triggers));
  append(routes, rest::webhooks_routes(*webhooks));
  append(routes, rest::loop_routes({*database, *events, *access, *requirements, *datasets, *features, *pipelines,
                                    *models, *deployments, *predictions, *monitors, *triggers}));
  append(routes, mlflow::mlflow_routes(*runs, *traces, *models, clock, data / "uploads"));
  append(routes, mlflow::webhook_routes(*webhooks));
  append(routes, oip::routes(
                     *predictions, clock, kVersion, [this] { return !server->draining(); }, config.settings.oip));
  TM_CHECK(router.add(std::move(routes)));
  router.fall_back(rest::console_route(console_assets()), {"/api/", "/v1/", "/v2/", "/ajax-api/"});
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
  rooms_->monitors->start();
  rooms_->triggers->start();
  rooms_->webhooks->start();
  rooms_->server->start();
}

void Platform::stop() {
  if (std::exchange(rooms_->stopped, true)) return;
  rooms_->server->stop([this] { rooms_->prober->stop(); });
  rooms_->events->close();
  rooms_->monitors->stop();
  rooms_->triggers->stop();
  rooms_->webhooks->stop();
  rooms_->jobs->stop();
}

std::string Platform::Rooms::url() const {
  const bool six = config.host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", six ? "[" : "", config.host, six ? "]" : "", server->port());
}

std::string Platform::url() const { return rooms_->url(); }

}  // namespace tidemill::server
