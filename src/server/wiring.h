// The only place that knows every room: what is made from what, in which order.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "server/config.h"

namespace tidemill::server {

// The running platform. Rooms are made in the order of src/ORDER and destroyed in reverse.
class Platform {
 public:
  // Locks and opens the data folder, makes every room, binds the address. kUnavailable when another server holds the
  // folder or the port; kFailedPrecondition for an address beyond loopback without accounts.
  [[nodiscard]] static Result<std::unique_ptr<Platform>> create(const Config& config);
  ~Platform();  // stop()

  // Begins to work and to accept.
  void start();
  // Finishes what has begun, then ends. Idempotent.
  void stop();
  // Returns the address, such as "http://127.0.0.1:7070".
  [[nodiscard]] std::string url() const;

 private:
  struct Rooms;
  explicit Platform(std::unique_ptr<Rooms> rooms);
  const std::unique_ptr<Rooms> rooms_;
};

}  // namespace tidemill::server
