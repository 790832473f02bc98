// /v2: the Open Inference Protocol.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "api/http/route.h"
#include "base/clock.h"
#include "flow/predictions/predictions.h"

namespace tidemill::oip {

struct Settings {
  using json_defaults = void;
  std::int64_t body_bytes_max = 64 << 20;
  std::int64_t inline_bytes_max =
      64 << 10;  // larger bodies are read on a thread of their own kind, not on the I/O thread
  std::int64_t large_threads = 1;
  std::int64_t large_waiting_max = 64;       // large bodies waiting for it; past it 429
  std::int64_t timeout_ms_default = 30'000;  // how long a request may wait for its turn when it does not say
};
BOOST_DESCRIBE_STRUCT(Settings, (),
                      (body_bytes_max, inline_bytes_max, large_threads, large_waiting_max, timeout_ms_default))

// `predictions` and `clock` must outlive the routes. `ready` tells whether the server wants requests.
[[nodiscard]] std::vector<http::Route> routes(predictions::Predictions& predictions, const Clock& clock,
                                              std::string version, std::function<bool()> ready, Settings settings = {});

}  // namespace tidemill::oip
