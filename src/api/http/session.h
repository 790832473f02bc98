// One connection, and what all connections share. Private to api/http: session.cc (reading, the only file that sees
// Beast), answer.cc (writing) and server.cc (listening, draining).
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/intrusive/list.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/http/guard.h"
#include "api/http/router.h"
#include "api/http/server.h"
#include "base/metrics.h"

namespace tidemill::http {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;

// Everything names its executor: the type-erased one of Asio's aliases costs an allocation here and there on every
// step.
using IoExecutor = asio::io_context::executor_type;
using Socket = asio::basic_stream_socket<asio::ip::tcp, IoExecutor>;
using Acceptor = asio::basic_socket_acceptor<asio::ip::tcp, IoExecutor>;
using Timer = asio::basic_waitable_timer<SteadyClock, asio::wait_traits<SteadyClock>, IoExecutor>;
template <class T>
using Task = asio::awaitable<T, IoExecutor>;
constexpr asio::use_awaitable_t<IoExecutor> kUseAwaitable{};
constexpr auto kAwait = asio::as_tuple(kUseAwaitable);

constexpr std::size_t kPieceBytes = 256 * 1024;  // of a file or a long text that is handled at once

// Counts up while it lives.
class Counted {
 public:
  explicit Counted(std::atomic<std::int64_t>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<std::int64_t>& count_;
};

// How often a route was asked, with what outcome, and how long it took. The series are made at the first request, so
// that /metrics is not mostly zeros. Any thread.
class RouteMetrics {
 public:
  explicit RouteMetrics(const Route& route) : route_(route) {}
  void count(int status, SteadyClock::duration took);

 private:
  struct Series {
    metrics::Histogram seconds;
    std::array<metrics::Counter, 3> by_class;  // below 400, below 500, the rest
  };
  [[nodiscard]] static Series make(const Route& route);

  const Route& route_;
  std::once_flag made_;
  std::optional<Series> series_;  // constant once made_
};

// What all connections share. Lives as long as the last answer that may still come.
struct ServerState {
  ServerState(const Router& router_, const Guard& guard_, std::filesystem::path upload_folder_, ServerOptions options_);

  const Router& router;
  const Guard& guard;
  const std::filesystem::path upload_folder;
  const ServerOptions options;
  std::unordered_map<const Route*, std::unique_ptr<RouteMetrics>> route_metrics;  // constant after construction
  const metrics::Counter unrouted;  // requests that found no route, or were no HTTP
  const metrics::Gauge connections_gauge;

  asio::thread_pool workers;
  std::atomic<bool> draining = false;
  std::atomic<std::int64_t> connections = 0;
  std::atomic<std::int64_t> open_requests = 0;
  std::atomic<std::int64_t> waiting = 0;  // for a worker
  std::atomic<std::int64_t> streams = 0;
};

// What a list of connections holds of one; leaves the list by itself.
class SessionHook
    : public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  [[nodiscard]] SteadyClock::time_point deadline() const { return deadline_; }
  // Closes the connection under whatever it waits for.
  virtual void expire() = 0;

 protected:
  ~SessionHook() = default;
  SteadyClock::time_point deadline_ = SteadyClock::time_point::max();
};

// One thread of input and output. But for `context`, all members belong to that thread.
struct Io : std::enable_shared_from_this<Io> {
  Io();
  ~Io();
  // Runs until the context is stopped: every 50 ms closes the connections whose time is up. One timer in all, instead
  // of one a step of each connection.
  Task<void> sweep();

  std::string date;  // now, as HTTP spells it
  boost::intrusive::list<SessionHook, boost::intrusive::constant_time_size<false>> sessions;
  std::thread thread;
  asio::io_context context{1};  // last: its end is the end of the connections that still wait for something
};

// One answer on its way from a handler, on whatever thread, to the connection that waits for it.
class Reply : public std::enable_shared_from_this<Reply> {
 public:
  explicit Reply(std::shared_ptr<Io> io) : io_(std::move(io)) {}

  // Any thread; the first call counts, later ones are ignored.
  void give(Response response);
  // The connection's thread, once.
  Task<Response> wait();
  // Returns a Done that gives the answer; one that is dropped without being called gives a 500.
  [[nodiscard]] Done done();

 private:
  using Waiter = asio::async_result<asio::use_awaitable_t<IoExecutor>, void(Response)>::handler_type;

  std::mutex mutex_;
  std::shared_ptr<Io> io_;            // guarded by mutex_; keeps the connection's sockets valid until it is given
  bool given_ = false;                // guarded by mutex_
  std::optional<Response> response_;  // guarded by mutex_
  std::unique_ptr<Waiter> waiter_;    // guarded by mutex_
};

// The parts of a request that writing its answer needs.
struct AnswerContext {
  std::string request_id;
  bool is_head = false;
  bool http_1_0 = false;
  std::string range;
};

// One connection. Belongs to the thread of its Io.
class Session final : public SessionHook {
 public:
  Session(std::shared_ptr<ServerState> state, Io& io, Socket socket);
  ~Session();

  // Serves requests until either side ends.
  Task<void> run();

  void expire() override;

 private:
  struct Parsers;  // of Beast

  enum class Head { good, closed, refused };

  // Reading (session.cc).
  Task<bool> serve_one();
  Task<Head> read_head(Parsers& parsers);
  Task<Response> respond(Parsers& parsers, Request& request);
  [[nodiscard]] Result<Request> request_of(const Parsers& parsers) const;
  Task<Result<access::Actor>> check(const Request& request, Right right);
  Task<Result<void>> read_body(Parsers& parsers, const Route& route, Request& request);
  Task<Result<void>> read_text(Parsers& parsers, std::uint64_t bytes_max, std::string& body);
  Task<Result<void>> read_file(Parsers& parsers, std::uint64_t bytes_max, std::filesystem::path& path);
  Task<bool> read_more();
  void begin_body();
  void count_body(std::size_t bytes);

  // Handling and writing (answer.cc).
  Task<Response> handle(const Route& route, Request request);
  template <class F>
  Task<std::invoke_result_t<F&>> on_worker(F function);
  Task<bool> write(Response response);
  Task<bool> write_text(const Response& response);
  Task<bool> write_file(Response& response);
  Task<bool> write_pieces(int file, std::uint64_t at, std::uint64_t left);
  Task<bool> write_stream(const Response& response);
  Task<bool> send(std::string_view head, std::string_view body);
  Task<void> linger();
  [[nodiscard]] std::string head(const Response& response, std::optional<std::uint64_t> length) const;

  [[nodiscard]] std::string_view input() const { return {input_.data() + begin_, end_ - begin_}; }
  void consume(std::size_t bytes) { begin_ += bytes; }
  void set_deadline_ms(std::int64_t in_ms) { deadline_ = SteadyClock::now() + std::chrono::milliseconds(in_ms); }

  const std::shared_ptr<ServerState> state_;
  Io& io_;  // outlives it: what waits in its queue ends with it
  const Counted counted_;
  Socket socket_;
  std::string peer_;
  std::vector<char> input_;  // [begin_, end_) has arrived and is not used yet
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  SteadyClock::time_point body_begun_{};
  std::uint64_t body_bytes_ = 0;
  bool keep_alive_ = true;
  bool unread_ = false;  // the other side may still be sending what nobody will read
  AnswerContext context_;
};

// --- implementation ---------------------------------------------------------------------------------------------

// Runs `function` on a worker and returns what it returns, so that no I/O thread waits for a disk or a hash.
template <class F>
Task<std::invoke_result_t<F&>> Session::on_worker(F function) {
  using Out = std::invoke_result_t<F&>;
  deadline_ = SteadyClock::time_point::max();
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<IoExecutor>, void(Out)>(
      [this, &function](auto handler) {
        asio::post(state_->workers, [this, &function, handler = std::move(handler)]() mutable {
          asio::post(io_.context, [handler = std::move(handler), out = function()]() mutable {
            std::move(handler)(std::move(out));
          });
        });
      },
      kUseAwaitable);
}

}  // namespace tidemill::http
