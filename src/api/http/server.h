// The HTTP/1.1 server: connections, limits, draining. No Asio in this header.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "api/http/guard.h"
#include "api/http/router.h"
#include "base/result.h"

namespace tidemill::http {

struct ServerOptions {
  using json_defaults = void;
  std::int64_t io_threads = 2;
  std::int64_t worker_threads = 32;           // run handlers that may block
  std::int64_t worker_queue_max = 1024;       // requests waiting for a worker; past it 429
  std::int64_t connections_max = 8192;        // past it new ones are closed at once
  std::int64_t streams_max = 64;              // server-sent event streams; past it 429
  std::int64_t header_bytes_max = 16 * 1024;  // request line and fields; past it 431
  std::int64_t header_timeout_ms = 10'000;    // from the first byte of a request to the end of its header
  std::int64_t body_timeout_ms = 30'000;      // for a body, in addition to what body_bytes_per_s_min grants
  std::int64_t body_bytes_per_s_min = 4'096;  // a body that arrives slower on the whole is cut off
  std::int64_t idle_timeout_ms = 75'000;      // between requests of a kept-alive connection
  std::int64_t write_timeout_ms = 60'000;     // without any progress of the answer
  std::int64_t linger_ms = 2'000;             // how long what a refused request still sends is read and thrown away
  std::int64_t drain_ms = 10'000;             // from stop() until open requests are cut off
};
BOOST_DESCRIBE_STRUCT(ServerOptions, (),
                      (io_threads, worker_threads, worker_queue_max, connections_max, streams_max, header_bytes_max,
                       header_timeout_ms, body_timeout_ms, body_bytes_per_s_min, idle_timeout_ms, write_timeout_ms,
                       linger_ms, drain_ms))

// Owns its threads. `router` and `guard` must outlive it; an answer that comes after its end is dropped.
class Server {
 public:
  // Binds; port 0 takes a free one. Uploads are kept in `upload_folder` (on one file system with where handlers move
  // them) while their handler runs. kUnavailable when the address is taken, kInvalidArgument for a bad host or option.
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(const Router& router, const Guard& guard,
                                                              const std::string& host, std::uint16_t port,
                                                              std::filesystem::path upload_folder,
                                                              ServerOptions options);
  ~Server();  // stop()
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  [[nodiscard]] std::uint16_t port() const;
  // Begins to accept. Call once.
  void start();
  // Accepts no further connection, lets the requests that have begun finish for up to drain_ms, then closes. Waits
  // until it is done. When drain_ms is over and requests are still open it calls `give_up`, which ends what their
  // handlers wait for, and gives their answers another second to leave. Idempotent; one thread.
  void stop(const std::function<void()>& give_up = {});
  // Returns true from the beginning of stop() on: what readiness probes ask. Any thread.
  [[nodiscard]] bool draining() const;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::http
