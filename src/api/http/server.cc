#include "api/http/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/ids.h"
#include "base/log.h"
#include "base/metrics.h"

namespace tidemill::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using std::chrono::milliseconds;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t kPieceBytes = 256 * 1024;
constexpr auto kStreamPoll = milliseconds(100);
constexpr std::int64_t kStreamPingMs = 15'000;

using TcpStream = beast::tcp_stream;
using EmptyParser = beast::http::request_parser<beast::http::empty_body>;

std::string_view status_text(int status) {
  return std::string_view(beast::http::obsolete_reason(static_cast<beast::http::status>(status)));
}

std::optional<Method> method_of(beast::http::verb verb) {
  switch (verb) {
    case beast::http::verb::get: return Method::get;
    case beast::http::verb::head: return Method::head;
    case beast::http::verb::post: return Method::post;
    case beast::http::verb::put: return Method::put;
    case beast::http::verb::patch: return Method::patch;
    case beast::http::verb::delete_: return Method::del;
    default: return std::nullopt;
  }
}

bool is_plain_header_text(std::string_view text) {
  for (const char c : text) {
    if (c == '\r' || c == '\n' || c == '\0') return false;
  }
  return true;
}

// Returns the head of the answer. What a handler puts into a header cannot end it: lines with control characters are left out.
std::string head_of(const Response& response, std::string_view request_id, std::optional<std::uint64_t> length, bool keep_alive) {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\nX-Request-Id: {}\r\n", response.status,
                                 status_text(response.status), response.content_type, request_id);
  if (length) head += fmt::format("Content-Length: {}\r\n", *length);
  head += "X-Content-Type-Options: nosniff\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  for (const auto& [name, value] : response.headers) {
    if (is_plain_header_text(name) && is_plain_header_text(value)) head += fmt::format("{}: {}\r\n", name, value);
  }
  return head + "\r\n";
}

struct Range {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
};

// Reads "bytes=a-b", "bytes=a-" or "bytes=-n" of one range; nothing for other forms, which RFC 9110 lets a server ignore. `*satisfiable` is false
// when the range lies beyond the file.
std::optional<Range> parse_range(std::string_view text, std::uint64_t size, bool* satisfiable) {
  *satisfiable = true;
  constexpr std::string_view kUnit = "bytes=";
  if (!text.starts_with(kUnit)) return std::nullopt;
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  if (dash == std::string_view::npos || text.find(',') != std::string_view::npos) return std::nullopt;
  const auto number = [](std::string_view digits) -> std::optional<std::uint64_t> {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    return value;
  };
  const auto first = number(text.substr(0, dash));
  const auto last = number(text.substr(dash + 1));
  if (dash == 0) {
    if (!last) return std::nullopt;
    *satisfiable = *last > 0 && size > 0;
    return Range{size - std::min(*last, size), size == 0 ? 0 : size - 1};
  }
  if (!first || (text.size() > dash + 1 && !last) || (last && *last < *first)) return std::nullopt;
  *satisfiable = *first < size;
  return Range{*first, std::min(last.value_or(size - 1), size == 0 ? 0 : size - 1)};
}

}  // namespace

class Server::Impl {
 public:
  Impl(const Router& router, const Guard& guard, std::filesystem::path upload_folder, ServerOptions options)
      : router_(router),
        guard_(guard),
        upload_folder_(std::move(upload_folder)),
        options_(options),
        workers_(static_cast<std::size_t>(options.worker_threads)) {
    for (std::int64_t i = 0; i < options.io_threads; ++i) io_.push_back(std::make_unique<Io>());
  }

  Result<void> bind(const std::string& host, std::uint16_t port);
  void start();
  void stop();
  [[nodiscard]] bool draining() const { return draining_.load(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  // One thread of input and output with its own acceptor: the kernel spreads connections among them (SO_REUSEPORT).
  struct Io {
    asio::io_context context{1};
    tcp::acceptor acceptor{context};
    std::thread thread;
  };

  // One connection.
  struct Session {
    explicit Session(tcp::socket socket) : stream(std::move(socket)) {}
    TcpStream stream;
    beast::flat_buffer buffer;
    std::string peer;
    bool keep_alive = true;
  };

  asio::awaitable<void> accept(Io& io);
  asio::awaitable<void> serve(tcp::socket socket);
  asio::awaitable<void> serve_requests(Session& session);
  asio::awaitable<bool> serve_one(Session& session);
  asio::awaitable<bool> wait_for_request(Session& session);
  asio::awaitable<Response> respond(Session& session, EmptyParser& parser, Request& request);
  asio::awaitable<Result<void>> read_body(Session& session, EmptyParser& parser, const Route& route, Request& request);
  asio::awaitable<Result<void>> read_text(Session& session, EmptyParser& parser, std::uint64_t bytes_max, std::string& body);
  asio::awaitable<Result<void>> read_file(Session& session, EmptyParser& parser, std::uint64_t bytes_max, std::filesystem::path& path);
  asio::awaitable<Result<access::Actor>> check(const Request& request, access::Right right);
  asio::awaitable<Response> handle(const Route& route, Request request);
  asio::awaitable<bool> write(Session& session, const Request& request, Response response);
  asio::awaitable<bool> write_text(Session& session, const Request& request, const Response& response);
  asio::awaitable<bool> write_file(Session& session, const Request& request, Response& response);
  asio::awaitable<bool> write_stream(Session& session, const Request& request, const Response& response);
  asio::awaitable<bool> send(Session& session, std::string_view head, std::string_view body);
  [[nodiscard]] Result<Request> request_of(const Session& session, const EmptyParser& parser) const;

  const Router& router_;
  const Guard& guard_;
  const std::filesystem::path upload_folder_;
  const ServerOptions options_;
  std::uint16_t port_ = 0;

  std::vector<std::unique_ptr<Io>> io_;
  asio::thread_pool workers_;
  std::atomic<bool> draining_ = false;
  std::atomic<bool> stopped_ = false;
  std::atomic<std::int64_t> connections_ = 0;
  std::atomic<std::int64_t> open_requests_ = 0;
  std::atomic<std::int64_t> waiting_ = 0;  // for a worker
  std::atomic<std::int64_t> streams_ = 0;
  const metrics::Histogram seconds_ = metrics::histogram("tidemill_http_request_seconds", "Time from header to answer",
                                                         metrics::seconds_buckets());
};

Result<void> Server::Impl::bind(const std::string& host, std::uint16_t port) {
  ErrorCode error;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, error);
  if (error) {
    return fail(Code::kInvalidArgument, "http.bad_host", fmt::format("'{}' is not an address to listen at.", host),
                "Give an IP address, such as 127.0.0.1.");
  }
  port_ = port;
  for (auto& io : io_) {
    const tcp::endpoint endpoint(address, port_);
    io->acceptor.open(endpoint.protocol(), error);
    if (!error) io->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    // Another server must not share the port unnoticed: the first of our own acceptors binds without SO_REUSEPORT's consent of others.
    const int on = 1;
    if (!error && io_.size() > 1) ::setsockopt(io->acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (!error) io->acceptor.bind(endpoint, error);
    if (!error) io->acceptor.listen(tcp::acceptor::max_listen_connections, error);
    if (error) {
      return fail(Code::kUnavailable, "http.cannot_listen", fmt::format("Cannot listen at {}:{}: {}.", host, port_, error.message()),
                  "Choose another port with --port.");
    }
    if (port_ == 0) port_ = io->acceptor.local_endpoint().port();
  }
  return {};
}

void Server::Impl::start() {
  for (auto& io : io_) {
    asio::co_spawn(io->context, accept(*io), asio::detached);
    io->thread = std::thread([&context = io->context] { context.run(); });
  }
}

void Server::Impl::stop() {
  if (draining_.exchange(true)) return;
  for (auto& io : io_) {
    asio::post(io->context, [&io] {
      ErrorCode ignored;
      io->acceptor.close(ignored);
    });
  }
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(options_.drain_ms);
  while (open_requests_.load() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(milliseconds(5));
  }
  stopped_ = true;
  workers_.join();  // a handler that has begun is never cut off: it may hold a transaction
  for (auto& io : io_) io->context.stop();
  for (auto& io : io_) {
    if (io->thread.joinable()) io->thread.join();
  }
}

asio::awaitable<void> Server::Impl::accept(Io& io) {
  while (!draining_.load()) {
    auto [error, socket] = co_await io.acceptor.async_accept(kAwait);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      // Out of file descriptors, mostly: wait for some to be freed instead of spinning.
      asio::steady_timer pause(io.context, milliseconds(50));
      co_await pause.async_wait(kAwait);
      continue;
    }
    if (connections_.load() >= options_.connections_max) continue;  // closes it
    asio::co_spawn(io.context, serve(std::move(socket)), asio::detached);
  }
}

asio::awaitable<void> Server::Impl::serve(tcp::socket socket) {
  ++connections_;
  ErrorCode ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  Session session(std::move(socket));
  const auto peer = session.stream.socket().remote_endpoint(ignored);
  session.peer = peer.address().to_string();
  try {
    co_await serve_requests(session);
  } catch (const std::exception& caught) {
    log::error("http", "a connection was dropped", {{"cause", caught.what()}});
  }
  session.stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  --connections_;
}

asio::awaitable<void> Server::Impl::serve_requests(Session& session) {
  while (session.keep_alive && !stopped_.load()) {
    if (!co_await wait_for_request(session)) co_return;
    ++open_requests_;
    const bool good = co_await serve_one(session);
    --open_requests_;
    if (!good) co_return;
  }
}

// Waits for the first byte, so that an idle connection is no open request. Looks up now and then to see whether the server drains.
asio::awaitable<bool> Server::Impl::wait_for_request(Session& session) {
  if (session.buffer.size() > 0) co_return true;
  const auto deadline = std::chrono::steady_clock::now() + milliseconds(options_.idle_timeout_ms);
  session.stream.expires_at(deadline);
  auto piece = session.buffer.prepare(4096);
  const auto [error, bytes] = co_await session.stream.async_read_some(piece, kAwait);
  if (error || bytes == 0 || draining_.load()) co_return false;
  session.buffer.commit(bytes);
  co_return true;
}

asio::awaitable<bool> Server::Impl::serve_one(Session& session) {
  EmptyParser parser;
  parser.header_limit(static_cast<std::uint32_t>(options_.header_bytes_max));
  parser.body_limit(boost::none);
  session.stream.expires_after(milliseconds(options_.header_timeout_ms));
  const auto [error, bytes] = co_await beast::http::async_read_header(session.stream, session.buffer, parser, kAwait);
  Request request;
  request.request_id = generate_hex_id();
  if (error) {
    // Closed, timed out, or not HTTP: the last deserves an answer, after which nothing on this connection can be trusted.
    if (error == beast::error::timeout || error == beast::http::error::end_of_stream || error == asio::error::connection_reset ||
        error == asio::error::operation_aborted || error == asio::error::eof || error == beast::http::error::partial_message) {
      co_return false;
    }
    session.keep_alive = false;
    const bool large = error == beast::http::error::header_limit;
    Response refusal = Response::error({large ? Code::kTooLarge : Code::kInvalidArgument, large ? "http.header_too_large" : "http.malformed",
                                        "The request is not acceptable HTTP: " + error.message() + ".", "Send HTTP/1.1.", {}});
    if (large) refusal.status = 431;
    co_return co_await write(session, request, std::move(refusal));
  }
  session.keep_alive = parser.get().keep_alive() && !draining_.load();
  const auto begun = std::chrono::steady_clock::now();
  Response response = co_await respond(session, parser, request);
  seconds_.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
  co_return co_await write(session, request, std::move(response));
}

Result<Request> Server::Impl::request_of(const Session& session, const EmptyParser& parser) const {
  const auto& message = parser.get();
  Request request;
  request.peer = session.peer;
  const auto method = method_of(message.method());
  if (!method) {
    return fail(Code::kUnimplemented, "http.unknown_method", "This method is not known here.", "Use GET, HEAD, POST, PUT, PATCH or DELETE.");
  }
  request.method = *method;
  std::optional<std::string_view> host;
  for (const auto& field : message) {
    const std::string_view name(field.name_string().data(), field.name_string().size());
    request.headers.add(std::string(name), std::string(field.value()));
    if (field.name() == beast::http::field::host) {
      if (host) return fail(Code::kInvalidArgument, "http.two_hosts", "The request has two Host headers.", "Send one.");
      host = std::string_view(field.value().data(), field.value().size());
    }
  }
  const std::string_view target(message.target().data(), message.target().size());
  if (!target.starts_with('/')) {
    return fail(Code::kInvalidArgument, "http.bad_target", fmt::format("'{}' is not a path.", target.substr(0, 64)), "Begin it with '/'.");
  }
  const std::size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));  // still escaped; the router decodes parameters one by one
  if (question != std::string_view::npos) request.query = TM_TRY(Query::parse(target.substr(question + 1)));
  return request;
}

asio::awaitable<Response> Server::Impl::respond(Session& session, EmptyParser& parser, Request& request) {
  const std::string request_id = request.request_id;
  // Until the body has been read, whatever is answered must also end the connection: its rest would be taken for a request.
  const bool keep_alive = std::exchange(session.keep_alive, false);
  auto made = request_of(session, parser);
  if (!made) co_return Response::error(made.error());
  request = *std::move(made);
  request.request_id = request_id;
  const auto match = router_.match(request.method, request.path);
  if (!match) {
    if (parser.is_done()) session.keep_alive = keep_alive;
    Response refusal = Response::error(match.error());
    if (match.error().reason == "http.wrong_method") {
      refusal.status = 405;
      refusal.headers.emplace_back("Allow", match.error().details.at("allow"));
    }
    co_return refusal;
  }
  const Route& route = *match->route;
  const auto in_form = [&](const Error& error) { return route.error_form ? route.error_form(error) : Response::error(error); };
  request.params = match->params;
  auto actor = co_await check(request, route.right);
  if (!actor) {
    if (parser.is_done()) session.keep_alive = keep_alive;
    co_return in_form(actor.error());
  }
  request.actor = *std::move(actor);
  if (auto read = co_await read_body(session, parser, route, request); !read) co_return in_form(read.error());
  session.keep_alive = keep_alive;
  if (auto path = percent_decode(request.path)) request.path = *std::move(path);
  Request handled = request;
  if (request.body.capacity() > 4096) request.body.clear();
  co_return co_await handle(route, std::move(handled));
}

asio::awaitable<Result<access::Actor>> Server::Impl::check(const Request& request, access::Right right) {
  if (!Guard::is_slow(request)) co_return guard_.check(request, right);
  co_return co_await asio::co_spawn(
      workers_, [this, &request, right]() -> asio::awaitable<Result<access::Actor>> { co_return guard_.check(request, right); },
      asio::use_awaitable);
}

asio::awaitable<Result<void>> Server::Impl::read_body(Session& session, EmptyParser& parser, const Route& route, Request& request) {
  const std::uint64_t bytes_max = route.body == Body::none ? 0 : route.body_bytes_max;
  const auto length = parser.content_length();
  if (length && *length > bytes_max && !(route.body == Body::none && *length <= kPieceBytes)) {
    co_return fail(Code::kTooLarge, "http.body_too_large", fmt::format("The body has {} bytes; the limit here is {}.", *length, bytes_max),
                   "Send less at once.", {{"limit", std::to_string(bytes_max)}});
  }
  if (parser.get()[beast::http::field::expect] == "100-continue") {
    if (!co_await send(session, "HTTP/1.1 100 Continue\r\n\r\n", "")) {
      co_return fail(Code::kUnavailable, "http.lost", "The connection was lost.");
    }
  }
  if (route.body == Body::file) co_return co_await read_file(session, parser, bytes_max, request.body_file);
  if (parser.is_done()) co_return Result<void>();
  // A body where none is asked for is read, up to a piece, and ignored, so that the connection can go on.
  co_return co_await read_text(session, parser, route.body == Body::none ? kPieceBytes : bytes_max, request.body);
}

asio::awaitable<Result<void>> Server::Impl::read_text(Session& session, EmptyParser& parser, std::uint64_t bytes_max, std::string& body) {
  beast::http::request_parser<beast::http::string_body> text(std::move(parser));
  text.body_limit(bytes_max);
  while (!text.is_done()) {
    session.stream.expires_after(milliseconds(options_.body_timeout_ms));
    const auto [error, bytes] = co_await beast::http::async_read_some(session.stream, session.buffer, text, kAwait);
    if (error == beast::http::error::body_limit) {
      co_return fail(Code::kTooLarge, "http.body_too_large", fmt::format("The body has more than {} bytes.", bytes_max), "Send less at once.",
                     {{"limit", std::to_string(bytes_max)}});
    }
    if (error) co_return fail(Code::kInvalidArgument, "http.broken_body", "The body did not arrive whole: " + error.message() + ".", "Send it again.");
  }
  body = std::move(text.get().body());
  co_return Result<void>();
}

asio::awaitable<Result<void>> Server::Impl::read_file(Session& session, EmptyParser& parser, std::uint64_t bytes_max,
                                                      std::filesystem::path& path) {
  path = upload_folder_ / (generate_hex_id() + ".upload");
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) co_return fail(errno_error("create", path, errno));
  beast::http::request_parser<beast::http::buffer_body> parts(std::move(parser));
  parts.body_limit(bytes_max);
  std::string piece(kPieceBytes, '\0');
  Result<void> result;
  while (result && !parts.is_done()) {
    parts.get().body().data = piece.data();
    parts.get().body().size = piece.size();
    parts.get().body().more = true;
    session.stream.expires_after(milliseconds(options_.body_timeout_ms));
    auto [error, bytes] = co_await beast::http::async_read(session.stream, session.buffer, parts, kAwait);
    if (error == beast::http::error::need_buffer) error = {};
    std::string_view got(piece.data(), piece.size() - parts.get().body().size);
    while (result && !got.empty()) {
      const ssize_t written = ::write(file.get(), got.data(), got.size());
      if (written < 0 && errno != EINTR) result = fail(errno_error("write", path, errno));
      if (written > 0) got.remove_prefix(static_cast<std::size_t>(written));
    }
    if (!result) break;
    if (error == beast::http::error::body_limit) {
      result = fail(Code::kTooLarge, "http.body_too_large", fmt::format("The body has more than {} bytes.", bytes_max), "Send less at once.",
                    {{"limit", std::to_string(bytes_max)}});
    } else if (error) {
      result = fail(Code::kInvalidArgument, "http.broken_body", "The body did not arrive whole: " + error.message() + ".", "Send it again.");
    }
  }
  if (!result) {
    ::unlink(path.c_str());
    path.clear();
  }
  co_return result;
}

asio::awaitable<Response> Server::Impl::handle(const Route& route, Request request) {
  const std::filesystem::path upload = request.body_file;
  const auto executor = co_await asio::this_coro::executor;
  Response response = co_await asio::async_initiate<const asio::use_awaitable_t<>, void(Response)>(
      [this, &route, &executor, &request](auto handler) {
        auto kept = std::make_shared<decltype(handler)>(std::move(handler));
        Done done = [kept, executor](Response answer) {
          asio::post(executor, [kept, answer = std::move(answer)]() mutable { std::move (*kept)(std::move(answer)); });
        };
        auto call = [&route, done, request = std::make_shared<Request>(std::move(request))]() mutable {
          try {
            route.handle(std::move(*request), done);
          } catch (const std::exception& caught) {
            log::error("http", "a handler threw", {{"path", route.path}, {"cause", caught.what()}});
            done(Response::error({Code::kInternal, "http.exception", "The request failed inside the server.", "See the server's log.", {}}));
          }
        };
        if (route.run == Run::inline_io) {
          call();
        } else if (waiting_.load() >= options_.worker_queue_max) {
          done(Response::error({Code::kExhausted, "http.busy", "Too many requests are waiting.", "Try again in a second.", {}}));
        } else {
          ++waiting_;
          asio::post(workers_, [this, call = std::move(call)]() mutable {
            --waiting_;
            call();
          });
        }
      },
      asio::use_awaitable);
  if (!upload.empty()) ::unlink(upload.c_str());
  if (response.status >= 400 && route.error_form == nullptr && response.body.empty()) response.content_type = "text/plain";
  co_return response;
}

asio::awaitable<bool> Server::Impl::send(Session& session, std::string_view head, std::string_view body) {
  session.stream.expires_after(milliseconds(options_.write_timeout_ms));
  const std::array<asio::const_buffer, 2> parts{asio::buffer(head.data(), head.size()), asio::buffer(body.data(), body.size())};
  const auto [error, bytes] = co_await asio::async_write(session.stream, parts, kAwait);
  co_return !error;
}

asio::awaitable<bool> Server::Impl::write(Session& session, const Request& request, Response response) {
  if (draining_.load()) session.keep_alive = false;
  if (response.stream) co_return co_await write_stream(session, request, response);
  if (response.file) co_return co_await write_file(session, request, response);
  co_return co_await write_text(session, request, response);
}

asio::awaitable<bool> Server::Impl::write_text(Session& session, const Request& request, const Response& response) {
  const bool has_body = response.status != 204 && response.status != 304;
  const std::optional<std::uint64_t> length = has_body ? std::optional<std::uint64_t>(response.body.size()) : std::nullopt;
  const std::string head = head_of(response, request.request_id, length, session.keep_alive);
  const bool send_body = has_body && request.method != Method::head;
  co_return co_await send(session, head, send_body ? std::string_view(response.body) : std::string_view());
}

asio::awaitable<bool> Server::Impl::write_file(Session& session, const Request& request, Response& response) {
  const FileDescriptor file(::open(response.file->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (response.file->delete_after) ::unlink(response.file->path.c_str());
  struct stat status {};
  if (!file.open() || ::fstat(file.get(), &status) != 0) {
    Response refusal = Response::error({Code::kNotFound, "http.file_gone", "The file is no longer there.", "Ask again.", {}});
    co_return co_await write_text(session, request, refusal);
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  std::uint64_t at = 0;
  std::uint64_t left = size;
  response.headers.emplace_back("Accept-Ranges", "bytes");
  if (const auto header = request.headers.get("Range")) {
    bool satisfiable = true;
    if (const auto range = parse_range(*header, size, &satisfiable)) {
      response.status = satisfiable ? 206 : 416;
      at = range->first;
      left = satisfiable ? range->last - range->first + 1 : 0;
      response.headers.emplace_back("Content-Range", satisfiable ? fmt::format("bytes {}-{}/{}", range->first, range->last, size)
                                                                 : fmt::format("bytes */{}", size));
    }
  }
  if (!co_await send(session, head_of(response, request.request_id, left, session.keep_alive), "")) co_return false;
  if (request.method == Method::head) co_return true;
  std::string piece(std::min<std::uint64_t>(kPieceBytes, std::max<std::uint64_t>(left, 1)), '\0');
  while (left > 0) {
    const ssize_t got = ::pread(file.get(), piece.data(), std::min<std::uint64_t>(piece.size(), left), static_cast<off_t>(at));
    if (got <= 0) co_return false;  // shorter than promised: the only honest end is a cut connection
    if (!co_await send(session, std::string_view(piece.data(), static_cast<std::size_t>(got)), "")) co_return false;
    at += static_cast<std::uint64_t>(got);
    left -= static_cast<std::uint64_t>(got);
  }
  co_return true;
}

asio::awaitable<bool> Server::Impl::write_stream(Session& session, const Request& request, const Response& response) {
  session.keep_alive = false;
  if (streams_.load() >= options_.streams_max) {
    Response refusal = Response::error({Code::kExhausted, "http.too_many_streams", "Too many event streams are open.", "Close one.", {}});
    co_return co_await write_text(session, request, refusal);
  }
  ++streams_;
  --open_requests_;  // an endless answer must not hold up a shutdown
  bool good = co_await send(session, head_of(response, request.request_id, std::nullopt, false), "");
  asio::steady_timer timer(session.stream.get_executor());
  auto last = std::chrono::steady_clock::now();
  while (good && !draining_.load()) {
    const auto text = response.stream->next(0);
    if (!text) break;
    const auto now = std::chrono::steady_clock::now();
    if (!text->empty() || now - last > milliseconds(kStreamPingMs)) {
      good = co_await send(session, text->empty() ? std::string_view(": ping\n\n") : std::string_view(*text), "");
      last = now;
      continue;
    }
    timer.expires_after(kStreamPoll);
    co_await timer.async_wait(kAwait);
  }
  ++open_requests_;
  --streams_;
  co_return false;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::create(const Router& router, const Guard& guard, const std::string& host, std::uint16_t port,
                                               std::filesystem::path upload_folder, ServerOptions options) {
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
void Server::stop() { impl_->stop(); }
bool Server::draining() const { return impl_->draining(); }

}  // namespace tidemill::http
