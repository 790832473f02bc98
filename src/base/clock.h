// Time is injected: whoever needs it takes a Clock&, so that tests and replays own it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill {

// Implementations may be called from any thread.
class Clock {
 public:
  virtual ~Clock() = default;
  // Returns milliseconds since 1970-01-01T00:00:00Z. May jump when the machine's clock is set.
  [[nodiscard]] virtual std::int64_t now_ms() const = 0;
  // Returns milliseconds since an unnamed moment; never goes back. For leases, time-outs and durations.
  [[nodiscard]] virtual std::int64_t steady_ms() const = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] std::int64_t now_ms() const override;
  [[nodiscard]] std::int64_t steady_ms() const override;
};

// A clock that stands still until it is told to move. Any thread.
class FakeClock final : public Clock {
 public:
  explicit FakeClock(std::int64_t now_ms = 1'700'000'000'000) : now_ms_(now_ms) {}
  [[nodiscard]] std::int64_t now_ms() const override { return now_ms_.load(); }
  [[nodiscard]] std::int64_t steady_ms() const override { return now_ms_.load(); }
  void advance_ms(std::int64_t by_ms) { now_ms_ += by_ms; }

 private:
  std::atomic<std::int64_t> now_ms_;
};

// Returns `at_ms` as "2013-01-31T23:59:59.000Z".
[[nodiscard]] std::string format_utc(std::int64_t at_ms);

// Returns the milliseconds of "2013-01-31", "2013-01-31T23:59:59Z", "…59.123Z" or "…+08:00" (RFC 3339);
// kInvalidArgument otherwise.
[[nodiscard]] Result<std::int64_t> parse_utc(std::string_view text);

// Returns the milliseconds of "90s", "15m", "3h", "7d" or "250ms"; kInvalidArgument otherwise or when negative.
[[nodiscard]] Result<std::int64_t> parse_duration_ms(std::string_view text);

}  // namespace tidemill
