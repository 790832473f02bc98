// The HTTP/1.1 server: connections, limits, draining. No Beast in this header.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "api/http/guard.h"
#include "api/http/router.h"
#include "base/result.h"

namespace tidemill::http {

struct ServerOptions {
  using json_defaults = void;
  std::int64_t io_threads = 2;
  std::int64_t worker_threads = 32;              // run handlers that may block
  std::int64_t worker_queue_max = 1024;          // requests waiting for a worker; past it 429
  std::int64_t connections_max = 8192;           // past it new ones are closed at once
  std::int64_t streams_max = 64;                 // server-sent event streams; past it 429
  std::int64_t header_bytes_max = 16 * 1024;
  std::int64_t header_timeout_ms = 10'000;       // from the first byte of a request to the end of its header
  std::int64_t body_timeout_ms = 30'000;         // without any progress of the body
  std::int64_t idle_timeout_ms = 75'000;         // between requests of a kept-alive connection
  std::int64_t write_timeout_ms = 60'000;        // without any progress of the answer
  std::int64_t drain_ms = 10'000;                // from SIGTERM until open requests are cut off
};
BOOST_DESCRIBE_STRUCT(ServerOptions, (),
                      (io_threads, worker_threads, worker_queue_max, connections_max, streams_max, header_bytes_max,
                       header_timeout_ms, body_timeout_ms, idle_timeout_ms, write_timeout_ms, drain_ms))

// Owns its threads. `router` and `guard` must outlive it.
class Server {
 public:
  // Binds; port 0 takes a free one. Uploads are kept in `upload_folder` while their handler runs. kUnavailable when the address is taken.
  [[nodiscard]] static Result<std::unique_ptr<Server>> create(const Router& router, const Guard& guard, const std::string& host,
                                                              std::uint16_t port, std::filesystem::path upload_folder,
                                                              ServerOptions options);
  ~Server();  // stop()

  [[nodiscard]] std::uint16_t port() const;
  // Begins to accept.
  void start();
  // Accepts no further connection, lets the requests that have begun finish for up to drain_ms, then closes. Idempotent.
  void stop();
  // Returns true from the beginning of stop() on: what readiness probes ask. Any thread.
  [[nodiscard]] bool draining() const;

  class Impl;

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace tidemill::http
