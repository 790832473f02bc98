// Handling and writing: from a request to the last byte of its answer.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <boost/asio/write.hpp>
#include <utility>

#include "api/http/session.h"
#include "api/http/wire.h"
#include "base/files.h"
#include "base/log.h"

// A false alarm of GCC 12 about the frames of coroutines, which Asio allocates and frees through its own functions.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"

namespace tidemill::http {
namespace {

constexpr auto kStreamPoll = std::chrono::milliseconds(100);
constexpr auto kStreamPing = std::chrono::seconds(15);
constexpr std::string_view kPing = ": still here\n\n";
constexpr std::uint64_t kLingerBytesMax = 64u << 20;

Error no_answer() {
  return {Code::kInternal, "http.no_answer", "The request failed inside the server.", "See the server's log.", {}};
}

// Answers are put together in functions of their own: GCC 12 destroys some temporaries of an awaiting expression twice.
Response file_gone() {
  return Response::error({Code::kNotFound, "http.file_gone", "The file is no longer there.", "Ask again.", {}});
}

Response too_many_streams() {
  return Response::error(
      {Code::kExhausted, "http.too_many_streams", "Too many event streams are open.", "Close one.", {}});
}

Response busy(const Route& route) {
  const Error error{Code::kExhausted, "http.busy", "Too many requests are waiting.", "Try again in a second.", {}};
  return route.error_form ? route.error_form(error) : Response::error(error);
}

// Gives a 500 when the last copy of a Done goes without having been called.
class Promise {
 public:
  explicit Promise(std::shared_ptr<Reply> reply) : reply_(std::move(reply)) {}
  ~Promise() { reply_->give(Response::error(no_answer())); }
  Promise(const Promise&) = delete;
  Promise& operator=(const Promise&) = delete;
  void give(Response response) const { reply_->give(std::move(response)); }

 private:
  const std::shared_ptr<Reply> reply_;
};

void call(const Route& route, Request&& request, const Done& done) {
  try {
    route.handle(std::move(request), done);
  } catch (const std::exception& caught) {
    log::error("http", "a handler threw", {{"path", route.path}, {"cause", caught.what()}});
    done(Response::error(no_answer()));
  }
}

}  // namespace

void Reply::give(Response response) {
  std::shared_ptr<Io> io;
  std::unique_ptr<Waiter> waiter;
  {
    const std::lock_guard lock(mutex_);
    if (given_) return;
    given_ = true;
    io = std::move(io_);
    if (waiter_) {
      waiter = std::move(waiter_);
    } else {
      response_ = std::move(response);
      return;
    }
  }
  asio::post(io->context, [waiter = std::move(*waiter), response = std::move(response)]() mutable {
    std::move(waiter)(std::move(response));
  });
}

Task<Response> Reply::wait() {
  {
    const std::lock_guard lock(mutex_);
    if (response_) co_return *std::exchange(response_, std::nullopt);
  }
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<IoExecutor>, void(Response)>(
      [this](auto handler) {
        const std::lock_guard lock(mutex_);
        if (!response_) {
          waiter_ = std::make_unique<Waiter>(std::move(handler));
          return;
        }
        const auto executor = asio::get_associated_executor(handler);  // before the handler is moved away
        asio::post(executor, [handler = std::move(handler), response = *std::move(response_)]() mutable {
          std::move(handler)(std::move(response));
        });
        response_.reset();
      },
      kUseAwaitable);
}

Done Reply::done() {
  return [promise = std::make_shared<Promise>(shared_from_this())](Response response) {
    promise->give(std::move(response));
  };
}

Task<Response> Session::handle(const Route& route, Request request) {
  deadline_ = SteadyClock::time_point::max();
  const std::filesystem::path upload = request.body_file;
  const auto reply = std::make_shared<Reply>(io_.shared_from_this());
  if (route.run == Run::inline_io) {
    call(route, std::move(request), reply->done());
  } else if (state_->waiting.load() >= state_->options.worker_queue_max) {
    reply->give(busy(route));
  } else {
    ++state_->waiting;
    asio::post(state_->workers,
               [state = state_.get(), &route, done = reply->done(), request = std::move(request)]() mutable {
                 --state->waiting;
                 call(route, std::move(request), done);
               });
  }
  Response response = co_await reply->wait();
  if (!upload.empty()) ::unlink(upload.c_str());  // still there when the handler left it
  co_return response;
}

std::string Session::head(const Response& response, std::optional<std::uint64_t> length) const {
  return head_of(response, {context_.request_id, io_.date, keep_alive_, context_.http_1_0}, length);
}

// Sends both, in pieces, so that the time limit is one on progress.
Task<bool> Session::send(std::string_view head, std::string_view body) {
  while (true) {
    const std::string_view piece = body.substr(0, kPieceBytes);
    set_deadline_ms(state_->options.write_timeout_ms);
    const std::array<asio::const_buffer, 2> parts{asio::buffer(head.data(), head.size()),
                                                  asio::buffer(piece.data(), piece.size())};
    const auto [error, bytes] = co_await asio::async_write(socket_, parts, kAwait);
    if (error) co_return false;
    head = {};
    body.remove_prefix(piece.size());
    if (body.empty()) co_return true;
  }
}

Task<bool> Session::write(Response response) {
  if (response.stream) co_return co_await write_stream(response);
  if (response.file) co_return co_await write_file(response);
  co_return co_await write_text(response);
}

Task<bool> Session::write_text(const Response& response) {
  const bool has_body = response.status != 204 && response.status != 304;
  const auto length = has_body ? std::optional<std::uint64_t>(response.body.size()) : std::nullopt;
  const bool send_body = has_body && !context_.is_head;
  co_return co_await send(head(response, length), send_body ? std::string_view(response.body) : std::string_view());
}

Task<bool> Session::write_file(Response& response) {
  const FileDescriptor file(::open(response.file->path.c_str(), O_RDONLY | O_CLOEXEC));
  if (response.file->delete_after) ::unlink(response.file->path.c_str());
  struct stat status {};
  if (!file.open() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    const Response gone = file_gone();
    co_return co_await write_text(gone);
  }
  const auto bytes = static_cast<std::uint64_t>(status.st_size);
  std::uint64_t at = 0;
  std::uint64_t left = bytes;
  response.headers.emplace_back("Accept-Ranges", "bytes");
  bool satisfiable = true;
  if (const auto range = parse_range(context_.range, bytes, &satisfiable); range && response.status == 200) {
    response.status = satisfiable ? 206 : 416;
    at = range->first;
    left = satisfiable ? range->last - range->first + 1 : 0;
    response.headers.emplace_back("Content-Range", satisfiable
                                                       ? fmt::format("bytes {}-{}/{}", range->first, range->last, bytes)
                                                       : fmt::format("bytes */{}", bytes));
  }
  if (!co_await send(head(response, left), "")) co_return false;
  if (context_.is_head) co_return true;
  co_return co_await write_pieces(file.get(), at, left);
}

Task<bool> Session::write_pieces(int file, std::uint64_t at, std::uint64_t left) {
  std::string piece(std::min<std::uint64_t>(kPieceBytes, left), '\0');
  while (left > 0) {
    const ssize_t got = co_await on_worker([&] {
      return ::pread(file, piece.data(), std::min<std::uint64_t>(piece.size(), left), static_cast<off_t>(at));
    });
    if (got <= 0) co_return false;  // shorter than promised: the only honest end is a cut connection
    if (!co_await send({piece.data(), static_cast<std::size_t>(got)}, "")) co_return false;
    at += static_cast<std::uint64_t>(got);
    left -= static_cast<std::uint64_t>(got);
  }
  co_return true;
}

Task<bool> Session::write_stream(const Response& response) {
  keep_alive_ = false;
  if (state_->streams.load() >= state_->options.streams_max) {
    const Response refusal = too_many_streams();
    co_return co_await write_text(refusal);
  }
  const Counted stream(state_->streams);
  if (!co_await send(head(response, std::nullopt), "") || context_.is_head) co_return false;
  --state_->open_requests;  // an endless answer must not hold up a shutdown
  Timer timer(io_.context);
  bool good = true;
  auto last = SteadyClock::now();
  while (good && !state_->draining.load()) {
    const auto text = co_await on_worker([&] { return response.stream->next(0); });
    if (!text) break;
    const auto now = SteadyClock::now();
    if (!text->empty() || now - last > kStreamPing) {
      good = co_await send(text->empty() ? kPing : std::string_view(*text), "");
      last = now;
    } else {
      timer.expires_after(kStreamPoll);
      co_await timer.async_wait(kAwait);
    }
  }
  ++state_->open_requests;
  co_return false;
}

// Reads and drops what the other side still sends, for a while: closing at once would reset the connection, and with it
// the answer that explains why (RFC 9112, 9.6).
Task<void> Session::linger() {
  set_deadline_ms(state_->options.linger_ms);
  for (std::uint64_t bytes = 0; bytes < kLingerBytesMax; bytes += end_) {
    begin_ = end_ = 0;
    if (!co_await read_more()) co_return;
  }
}

}  // namespace tidemill::http
