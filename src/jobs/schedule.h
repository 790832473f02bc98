// When something that repeats is due next.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill::jobs {

constexpr std::int64_t kEveryMinMs = 1'000;

// A rule of repetition. Immutable; any thread.
class Schedule {
 public:
  // "90s", "15m", "1h", "7d" …; kInvalidArgument below kEveryMinMs.
  [[nodiscard]] static Result<Schedule> every(std::string_view duration);

  // The five fields of crontab(5): minute hour day-of-month month day-of-week, in UTC. Each is `*`, a number, a name
  // (jan, mon), a range a-b, any of these with a step /n, or a list of them; 7 is Sunday too. As in cron, when both
  // days are restricted either one suffices. Also @hourly, @daily,
  // @weekly, @monthly and @yearly. kInvalidArgument names the field; so does a date that never comes (30 February).
  [[nodiscard]] static Result<Schedule> cron(std::string_view text);

  // Reads what text() wrote.
  [[nodiscard]] static Result<Schedule> parse(std::string_view text);

  // Returns "every 1h" or "cron 0 3 * * *".
  [[nodiscard]] const std::string& text() const { return text_; }

  // Returns the first moment after `after_ms` (Unix, ms) that the rule names. For `every` that is after_ms plus the
  // interval.
  [[nodiscard]] std::int64_t next_ms(std::int64_t after_ms) const;

  // Returns the due time to keep, given the one stored and the present: the stored one, unless the clock was set back
  // so far that it lies more than one interval ahead. A cron rule keeps it: the same moment must not come twice.
  [[nodiscard]] std::int64_t corrected_ms(std::int64_t stored_ms, std::int64_t now_ms) const;

 private:
  Schedule() = default;
  [[nodiscard]] std::int64_t next_cron_ms(std::int64_t after_ms) const;
  [[nodiscard]] bool day_matches(std::int64_t day) const;

  std::string text_;
  std::int64_t every_ms_ = 0;  // 0 = cron
  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;
  std::bitset<13> months_;
  std::bitset<7> weekdays_;  // 0 = Sunday
  bool any_day_ = false;
  bool any_weekday_ = false;
};

}  // namespace tidemill::jobs
