// Listening and draining.
#include "api/http/server.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <ctime>
#include <utility>

#include "api/http/session.h"
#include "api/http/wire.h"
#include "base/files.h"
#include "base/log.h"

namespace tidemill::http {
namespace {

using asio::ip::tcp;

constexpr auto kSweep = std::chrono::milliseconds(50);
constexpr auto kAcceptPause = std::chrono::milliseconds(50);
constexpr auto kGiveUpTime = std::chrono::milliseconds(1000);

Result<void> check_options(const ServerOptions& options) {
  const auto need = [](const char* name, std::int64_t value, std::int64_t low, std::int64_t high) -> Result<void> {
    if (value >= low && value <= high) return {};
    return fail(Code::kInvalidArgument, "http.bad_option", fmt::format("http.{} is {}.", name, value),
                fmt::format("Give {} to {}.", low, high));
  };
  constexpr std::int64_t kDayMs = 86'400'000;
  TM_CHECK(need("io_threads", options.io_threads, 1, 256));
  TM_CHECK(need("worker_threads", options.worker_threads, 1, 4096));
  TM_CHECK(need("worker_queue_max", options.worker_queue_max, 0, 1'000'000));
  TM_CHECK(need("connections_max", options.connections_max, 1, 1'000'000));
  TM_CHECK(need("streams_max", options.streams_max, 0, 100'000));
  TM_CHECK(need("header_bytes_max", options.header_bytes_max, 1024, 1 << 20));
  TM_CHECK(need("body_bytes_per_s_min", options.body_bytes_per_s_min, 1, 1 << 30));
  TM_CHECK(need("header_timeout_ms", options.header_timeout_ms, 1, kDayMs));
  TM_CHECK(need("body_timeout_ms", options.body_timeout_ms, 1, kDayMs));
  TM_CHECK(need("idle_timeout_ms", options.idle_timeout_ms, 1, kDayMs));
  TM_CHECK(need("write_timeout_ms", options.write_timeout_ms, 1, kDayMs));
  TM_CHECK(need("linger_ms", options.linger_ms, 0, kDayMs));
  TM_CHECK(need("drain_ms", options.drain_ms, 0, kDayMs));
  return {};
}

}  // namespace

RouteMetrics::Series RouteMetrics::make(const Route& route) {
  const metrics::Labels labels{{"method", std::string(method_name(route.method))}, {"route", route.path}};
  const auto counter = [&](const char* status) {
    metrics::Labels all = labels;
    all["status"] = status;
    return metrics::counter("tidemill_http_requests_total", "Requests by route and class of status", all);
  };
  return {
      metrics::histogram("tidemill_http_request_seconds", "From the end of the header to the answer, before it is sent",
                         {0.0005, 0.0025, 0.01, 0.05, 0.25, 1, 5}, labels),
      {counter("ok"), counter("4xx"), counter("5xx")}};
}

void RouteMetrics::count(int status, SteadyClock::duration took) {
  std::call_once(made_, [this] { series_.emplace(make(route_)); });
  series_->seconds.observe(std::chrono::duration<double>(took).count());
  series_->by_class[status < 400 ? 0 : status < 500 ? 1 : 2].add();
}

ServerState::ServerState(const Router& router_, const Guard& guard_, std::filesystem::path upload_folder_,
                         ServerOptions options_)
    : router(router_),
      guard(guard_),
      upload_folder(std::move(upload_folder_)),
      options(options_),
      unrouted(metrics::counter("tidemill_http_unrouted_total", "Requests that no route takes, or that are no HTTP")),
      connections_gauge(metrics::gauge("tidemill_http_connections", "Open connections")),
      workers(static_cast<std::size_t>(options_.worker_threads)) {
  for (const auto& route : router.routes()) {
    route_metrics.emplace(route.get(), std::make_unique<RouteMetrics>(*route));
  }
  if (const Route* route = router.fallback()) {
    route_metrics.emplace(route, std::make_unique<RouteMetrics>(*route));
  }
}

Io::Io() : date(http_date(std::time(nullptr))) {}
Io::~Io() = default;

Task<void> Io::sweep() {
  Timer timer(context);
  std::time_t shown = 0;
  while (true) {
    timer.expires_after(kSweep);
    co_await timer.async_wait(kAwait);
    const auto now = SteadyClock::now();
    for (auto& session : sessions) {
      if (session.deadline() <= now) session.expire();
    }
    const std::time_t at = std::time(nullptr);
    if (std::exchange(shown, at) != at) date = http_date(at);
  }
}

class Server::Impl {
 public:
  Impl(const Router& router, const Guard& guard, std::filesystem::path upload_folder, ServerOptions options)
      : state_(std::make_shared<ServerState>(router, guard, std::move(upload_folder), options)) {
    for (std::int64_t i = 0; i < options.io_threads; ++i) io_.push_back(std::make_shared<Io>());
    acceptor_.emplace(io_.front()->context);
  }

  [[nodiscard]] Result<void> bind(const std::string& host, std::uint16_t port);
  void start();
  void stop(const std::function<void()>& give_up);
  [[nodiscard]] bool draining() const { return state_->draining.load(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  Task<void> accept();
  static Task<void> serve(std::shared_ptr<ServerState> state, Io& io, Socket socket);

  const std::shared_ptr<ServerState> state_;
  std::vector<std::shared_ptr<Io>> io_;
  std::optional<Acceptor> acceptor_;
  std::uint16_t port_ = 0;
};

// One acceptor that deals connections out in turn. SO_REUSEPORT would let the kernel spread them, by hash: with a few
// busy connections, as a scoring service has, one thread often gets most of them. And it would let a second server
// share the port unnoticed.
Result<void> Server::Impl::bind(const std::string& host, std::uint16_t port) {
  ErrorCode error;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) {
    return fail(Code::kInvalidArgument, "http.bad_host", fmt::format("'{}' is not an address to listen at.", host),
                "Give an IP address, such as 127.0.0.1.");
  }
  const tcp::endpoint endpoint(address, port);
  acceptor_->open(endpoint.protocol(), error);
  if (!error) acceptor_->set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_->bind(endpoint, error);
  if (!error) acceptor_->listen(tcp::acceptor::max_listen_connections, error);
  if (error) {
    return fail(Code::kUnavailable, "http.cannot_listen",
                fmt::format("Cannot listen at {}:{}: {}.", host, port, error.message()),
                "Choose another port with --port, or stop who has it.");
  }
  port_ = acceptor_->local_endpoint().port();
  return {};
}

void Server::Impl::start() {
  asio::co_spawn(io_.front()->context, accept(), asio::detached);
  for (auto& io : io_) {
    asio::co_spawn(io->context, io->sweep(), asio::detached);
    io->thread = std::thread([io = io.get()] { io->context.run(); });
  }
}

void Server::Impl::stop(const std::function<void()>& give_up) {
  if (state_->draining.exchange(true)) return;
  asio::post(io_.front()->context, [this] {
    ErrorCode ignored;
    acceptor_->close(ignored);
  });
  const auto drained_within = [this](std::chrono::milliseconds time) {
    const auto deadline = SteadyClock::now() + time;
    while (state_->open_requests.load() > 0 && SteadyClock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return state_->open_requests.load() == 0;
  };
  if (!drained_within(std::chrono::milliseconds(state_->options.drain_ms)) && give_up) {
    give_up();
    drained_within(kGiveUpTime);
  }
  for (auto& io : io_) io->context.stop();
  for (auto& io : io_) {
    if (io->thread.joinable()) io->thread.join();
  }
  state_->workers.join();  // a handler that has begun is never cut off: it may hold a transaction
  acceptor_.reset();
  io_.clear();  // ends what still waits; an answer on its way keeps its own
}

Task<void> Server::Impl::accept() {
  for (std::size_t turn = 0; !state_->draining.load(); ++turn) {
    Io& io = *io_[turn % io_.size()];
    auto [error, socket] = co_await acceptor_->async_accept(io.context.get_executor(), kAwait);
    if (error == asio::error::operation_aborted || error == asio::error::bad_descriptor) co_return;
    if (error) {
      // Out of file descriptors, mostly: wait for some to be freed instead of spinning.
      Timer pause(io_.front()->context, kAcceptPause);
      co_await pause.async_wait(kAwait);
      continue;
    }
    if (state_->connections.load() >= state_->options.connections_max) continue;  // closes it
    asio::co_spawn(io.context, serve(state_, io, std::move(socket)), asio::detached);
  }
}

Task<void> Server::Impl::serve(std::shared_ptr<ServerState> state, Io& io, Socket socket) {
  try {
    Session session(state, io, std::move(socket));
    state->connections_gauge.set(static_cast<double>(state->connections.load()));
    co_await session.run();
  } catch (const std::exception& caught) {
    log::error("http", "a connection was dropped", {{"cause", caught.what()}});
  }
  state->connections_gauge.set(static_cast<double>(state->connections.load()));
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::create(const Router& router, const Guard& guard, const std::string& host,
                                               std::uint16_t port, std::filesystem::path upload_folder,
                                               ServerOptions options) {
  TM_CHECK(check_options(options));
  TM_CHECK(make_folder(upload_folder));
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(upload_folder, ignored)) {
    std::filesystem::remove(entry.path(), ignored);  // left by a crash
  }
  auto impl = std::make_unique<Impl>(router, guard, std::move(upload_folder), options);
  TM_CHECK(impl->bind(host, port));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

std::uint16_t Server::port() const { return impl_->port(); }
void Server::start() { impl_->start(); }
void Server::stop(const std::function<void()>& give_up) { impl_->stop(give_up); }
bool Server::draining() const { return impl_->draining(); }

}  // namespace tidemill::http
