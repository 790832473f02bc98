// Reading: from bytes to requests. The one file that sees Beast.
#include "api/http/session.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "base/files.h"
#include "base/ids.h"
#include "base/log.h"

// A false alarm of GCC 12 about the frames of coroutines, which Asio allocates and frees through its own functions.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace tidemill::http {
namespace {

namespace beast_http = boost::beast::http;

constexpr std::size_t kInputBytes = 4 * 1024;       // of a fresh connection
constexpr std::size_t kBodyInputBytes = 64 * 1024;  // once a body arrives
constexpr std::size_t kReadBytesMin = 1024;
constexpr std::uint64_t kIgnoredBytesMax = 256 * 1024;  // of a body where none is asked for

std::optional<Method> method_of(beast_http::verb verb) {
  switch (verb) {
    case beast_http::verb::get:
      return Method::get;
    case beast_http::verb::head:
      return Method::head;
    case beast_http::verb::post:
      return Method::post;
    case beast_http::verb::put:
      return Method::put;
    case beast_http::verb::patch:
      return Method::patch;
    case beast_http::verb::delete_:
      return Method::del;
    default:
      return std::nullopt;
  }
}

std::string_view view_of(boost::beast::string_view text) { return {text.data(), text.size()}; }

Error too_large(std::uint64_t bytes_max) {
  return {Code::kTooLarge,
          "http.body_too_large",
          fmt::format("The body has more than {} bytes.", bytes_max),
          "Send less at once.",
          {{"limit", std::to_string(bytes_max)}}};
}

Error broken_body(std::string_view why) {
  return {Code::kInvalidArgument,
          "http.broken_body",
          fmt::format("The body did not arrive whole: {}.", why),
          "Send it again.",
          {}};
}

Response no_route(const Error& error) {
  Response refusal = Response::error(error);
  if (error.reason == "http.wrong_method") {
    refusal.status = 405;
    refusal.headers.emplace_back("Allow", error.details.at("allow"));
  }
  return refusal;
}

Response malformed(const ErrorCode& why) {
  const bool large = why == beast_http::error::header_limit;
  Response refusal = Response::error({large ? Code::kTooLarge : Code::kInvalidArgument,
                                      large ? "http.header_too_large" : "http.malformed",
                                      fmt::format("This is not acceptable HTTP: {}.", why.message()),
                                      large ? "Send fewer or shorter fields." : "Send HTTP/1.1.",
                                      {}});
  if (large) refusal.status = 431;
  return refusal;
}

// How a body ends is told by one field, and in one way: what proxies could read differently than we do is refused, so
// that no request hides in another's body (RFC 9112, 6.3 and 11.2). Beast itself refuses Content-Length beside
// Transfer-Encoding, and two lengths that differ.
template <class Message>
Result<void> check_framing(const Message& message) {
  int hosts = 0;
  for (const auto& field : message) {
    if (field.name() == beast_http::field::host) ++hosts;
    if (field.name() != beast_http::field::transfer_encoding) continue;
    if (!boost::beast::iequals(field.value(), "chunked") || message.version() < 11) {
      return fail(Code::kUnimplemented, "http.transfer_encoding",
                  "The body is encoded in a way that is not known here.",
                  "Send Content-Length, or Transfer-Encoding: chunked over HTTP/1.1.");
    }
  }
  if (hosts > 1) return fail(Code::kInvalidArgument, "http.two_hosts", "The request has two Host fields.", "Send one.");
  if (message.count(beast_http::field::transfer_encoding) > 1) {
    return fail(Code::kInvalidArgument, "http.transfer_encoding", "The request has two Transfer-Encoding fields.",
                "Send one.");
  }
  const auto expect = message[beast_http::field::expect];
  if (!expect.empty() && !boost::beast::iequals(expect, "100-continue")) {
    return fail(Code::kInvalidArgument, "http.expectation",
                fmt::format("'{}' cannot be expected here.", view_of(expect)), "Leave Expect out.");
  }
  return {};
}

}  // namespace

// The header is parsed without a body first; only then is it known what kind of body the route takes.
struct Session::Parsers {
  beast_http::request_parser<beast_http::empty_body> header;
};

Session::Session(std::shared_ptr<ServerState> state, Io& io, Socket socket)
    : state_(std::move(state)),
      io_(io),
      counted_(state_->connections),
      socket_(std::move(socket)),
      input_(kInputBytes) {
  ErrorCode ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  const auto peer = socket_.remote_endpoint(ignored);
  peer_ = peer.address().to_string();
  io_.sessions.push_back(*this);
}

Session::~Session() = default;

void Session::expire() {
  deadline_ = SteadyClock::time_point::max();
  ErrorCode ignored;
  socket_.close(ignored);
}

Task<void> Session::run() {
  bool good = true;
  while (good && keep_alive_) good = co_await serve_one();
  ErrorCode ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  if (good && unread_) co_await linger();
}

// Waits for more input and returns true; false when the other side has closed, or its time is up.
Task<bool> Session::read_more() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (input_.size() - end_ < kReadBytesMin) {
    std::copy(input_.begin() + static_cast<std::ptrdiff_t>(begin_), input_.begin() + static_cast<std::ptrdiff_t>(end_),
              input_.begin());
    end_ -= begin_;
    begin_ = 0;
    if (input_.size() - end_ < kReadBytesMin) input_.resize(input_.size() * 2);
  }
  const auto [error, bytes] =
      co_await socket_.async_read_some(asio::buffer(input_.data() + end_, input_.size() - end_), kAwait);
  end_ += bytes;
  co_return !error && bytes > 0;
}

Task<Session::Head> Session::read_head(Parsers& parsers) {
  auto& parser = parsers.header;
  parser.header_limit(static_cast<std::uint32_t>(state_->options.header_bytes_max));
  parser.body_limit(boost::none);
  context_ = {.request_id = generate_hex_id()};  // also for what is refused before it is understood
  bool begun = begin_ != end_;
  set_deadline_ms(begun ? state_->options.header_timeout_ms : state_->options.idle_timeout_ms);
  while (true) {
    if (begin_ != end_) {
      ErrorCode error;
      consume(parser.put(asio::buffer(input().data(), input().size()), error));
      if (parser.is_header_done()) co_return Head::good;
      if (error && error != beast_http::error::need_more) {
        Response refusal = malformed(error);
        keep_alive_ = false;
        unread_ = true;
        state_->unrouted.add();
        co_return co_await write(std::move(refusal)) ? Head::refused : Head::closed;
      }
    }
    if (!co_await read_more()) co_return Head::closed;
    if (!std::exchange(begun, true)) set_deadline_ms(state_->options.header_timeout_ms);
  }
}

Task<bool> Session::serve_one() {
  Parsers parsers;
  const Head head = co_await read_head(parsers);
  if (head != Head::good) co_return head == Head::refused;
  const Counted open(state_->open_requests);
  const auto& message = parsers.header.get();
  context_ = {.request_id = context_.request_id,
              .is_head = message.method() == beast_http::verb::head,
              .http_1_0 = message.version() < 11,
              .range = std::string(message[beast_http::field::range])};
  keep_alive_ = message.keep_alive();
  Request request;
  Response response = co_await respond(parsers, request);
  if (state_->draining.load()) keep_alive_ = false;
  co_return co_await write(std::move(response));
}

Result<Request> Session::request_of(const Parsers& parsers) const {
  const auto& message = parsers.header.get();
  TM_CHECK(check_framing(message));
  Request request;
  request.peer = peer_;
  request.request_id = context_.request_id;
  const auto method = method_of(message.method());
  if (!method) {
    return fail(Code::kUnimplemented, "http.unknown_method", "This method is not known here.",
                "Use GET, HEAD, POST, PUT, PATCH or DELETE.");
  }
  request.method = *method;
  for (const auto& field : message) {
    request.headers.add(std::string(view_of(field.name_string())), std::string(view_of(field.value())));
  }
  const std::string_view target = view_of(message.target());
  if (!target.starts_with('/')) {
    return fail(Code::kInvalidArgument, "http.bad_target", fmt::format("'{}' is not a path.", target.substr(0, 64)),
                "Begin it with '/'.");
  }
  const std::size_t question = target.find('?');
  request.path = std::string(target.substr(0, question));  // still escaped: the router decodes parameters one by one
  if (question != std::string_view::npos) request.query = TM_TRY(Query::parse(target.substr(question + 1)));
  return request;
}

// Until the body has been read, whatever is answered must also end the connection: the rest would be taken for a
// request.
Task<Response> Session::respond(Parsers& parsers, Request& request) {
  const auto begun = SteadyClock::now();
  const bool keep_alive = std::exchange(keep_alive_, false);
  unread_ = !parsers.header.is_done();
  const auto refuse = [&](Response refusal) {
    if (!unread_) keep_alive_ = keep_alive;
    return refusal;
  };
  auto made = request_of(parsers);
  if (!made) {
    keep_alive_ = false;
    co_return Response::error(made.error());
  }
  request = *std::move(made);
  auto match = state_->router.match(request.method, request.path);
  if (!match) {
    state_->unrouted.add();
    co_return refuse(no_route(match.error()));
  }
  const Route& route = *match->route;
  const auto in_form = [&](const Error& error) {
    return route.error_form ? route.error_form(error) : Response::error(error);
  };
  request.params = std::move(match->params);
  auto actor = co_await check(request, route.right);
  Response response;
  if (!actor) {
    response = refuse(in_form(actor.error()));
  } else if (auto read = co_await read_body(parsers, route, request); !read) {
    response = in_form(read.error());
  } else {
    unread_ = false;
    keep_alive_ = keep_alive;
    request.actor = *std::move(actor);
    if (auto path = percent_decode(request.path)) request.path = *std::move(path);
    response = co_await handle(route, std::move(request));
  }
  state_->route_metrics.at(&route)->count(response.status, SteadyClock::now() - begun);
  if (response.status >= 500) {
    log::warn("http", "a request failed",
              {{"path", route.path}, {"status", std::to_string(response.status)}, {"request", context_.request_id}});
  }
  co_return response;
}

Task<Result<access::Actor>> Session::check(const Request& request, Right right) {
  if (auto now = state_->guard.check_now(request, right)) co_return *std::move(now);
  co_return co_await on_worker([&] { return state_->guard.check(request, right); });
}

void Session::begin_body() {
  body_begun_ = SteadyClock::now();
  body_bytes_ = 0;
  count_body(0);
  if (input_.size() < kBodyInputBytes) input_.resize(kBodyInputBytes);
}

// Whoever sends has body_timeout_ms, and a second more for each body_bytes_per_s_min bytes that have come.
void Session::count_body(std::size_t bytes) {
  body_bytes_ += bytes;
  const auto rate = static_cast<double>(std::max<std::int64_t>(state_->options.body_bytes_per_s_min, 1));
  deadline_ = body_begun_ + std::chrono::milliseconds(state_->options.body_timeout_ms) +
              std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(body_bytes_) * 1000 / rate));
}

Task<Result<void>> Session::read_body(Parsers& parsers, const Route& route, Request& request) {
  const std::uint64_t bytes_max = route.body == Body::none ? kIgnoredBytesMax : route.body_bytes_max;
  const auto& parser = parsers.header;
  if (parser.is_done() && route.body != Body::file) co_return Result<void>();
  if (const auto length = parser.content_length(); length && *length > bytes_max) co_return fail(too_large(bytes_max));
  if (!parser.is_done() && !parser.get()[beast_http::field::expect].empty()) {
    if (!co_await send("HTTP/1.1 100 Continue\r\n\r\n", "")) co_return fail(broken_body("the connection was lost"));
  }
  begin_body();
  if (route.body == Body::file) co_return co_await read_file(parsers, bytes_max, request.body_file);
  co_return co_await read_text(parsers, bytes_max, request.body);
}

Task<Result<void>> Session::read_text(Parsers& parsers, std::uint64_t bytes_max, std::string& body) {
  beast_http::request_parser<beast_http::string_body> parser(std::move(parsers.header));
  parser.body_limit(bytes_max);
  parser.eager(true);
  while (!parser.is_done()) {
    if (begin_ == end_ && !co_await read_more())
      co_return fail(broken_body("the connection ended, or it took too long"));
    ErrorCode error;
    const std::size_t used = parser.put(asio::buffer(input().data(), input().size()), error);
    consume(used);
    count_body(used);
    if (error == beast_http::error::body_limit) co_return fail(too_large(bytes_max));
    if (error == beast_http::error::need_more) {
      if (!parser.is_done() && begin_ != end_ && !co_await read_more())
        co_return fail(broken_body("the connection ended"));
    } else if (error) {
      co_return fail(broken_body(error.message()));
    }
  }
  body = std::move(parser.get().body());
  co_return Result<void>();
}

Task<Result<void>> Session::read_file(Parsers& parsers, std::uint64_t bytes_max, std::filesystem::path& path) {
  path = state_->upload_folder / (generate_hex_id() + ".upload");
  const FileDescriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file.open()) co_return fail(errno_error("create", path, errno));
  if (parsers.header.is_done()) co_return Result<void>();  // an empty body
  beast_http::request_parser<beast_http::buffer_body> parser(std::move(parsers.header));
  parser.body_limit(bytes_max);
  parser.eager(true);
  std::string piece(kPieceBytes, '\0');
  std::size_t filled = 0;
  Result<void> result;
  while (result && !parser.is_done()) {
    if (begin_ == end_ && !co_await read_more()) {
      result = fail(broken_body("the connection ended, or it took too long"));
      break;
    }
    auto& body = parser.get().body();
    body.data = piece.data() + filled;
    body.size = piece.size() - filled;
    body.more = true;
    ErrorCode error;
    const std::size_t used = parser.put(asio::buffer(input().data(), input().size()), error);
    consume(used);
    count_body(used);
    filled = piece.size() - body.size;
    if (error == beast_http::error::body_limit) result = fail(too_large(bytes_max));
    const bool starved = error == beast_http::error::need_more && begin_ != end_;
    if (starved && !co_await read_more()) result = fail(broken_body("the connection ended"));
    if (error && error != beast_http::error::need_more && error != beast_http::error::need_buffer && result) {
      result = fail(broken_body(error.message()));
    }
    if (result && (filled == piece.size() || parser.is_done())) {
      result = co_await on_worker([&] { return write_all(file.get(), {piece.data(), filled}, path); });
      filled = 0;
      count_body(0);
    }
  }
  if (!result) {
    ::unlink(path.c_str());
    path.clear();
  }
  co_return result;
}

}  // namespace tidemill::http
