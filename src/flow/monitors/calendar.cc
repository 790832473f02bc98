#include "flow/monitors/calendar.h"

#include <fmt/format.h>

#include <chrono>

#include "base/clock.h"

namespace tidemill::monitors {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::months;
using std::chrono::sys_days;
using std::chrono::sys_time;
using std::chrono::year_month;
using std::chrono::year_month_day;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kFixedMinMs = 60'000;
constexpr std::int64_t kOffsetMinutesMax = 24 * 60 - 1;

std::int64_t to_ms(sys_days day) { return sys_time<milliseconds>(day).time_since_epoch().count(); }

std::int64_t floor_to(std::int64_t value, std::int64_t step) {
  const std::int64_t rest = value % step;
  return value - (rest < 0 ? rest + step : rest);
}

sys_days day_of(std::int64_t local_ms) {
  return std::chrono::floor<days>(sys_time<milliseconds>(milliseconds(local_ms)));
}

Span month_at(std::int64_t local_ms) {
  const year_month_day date(day_of(local_ms));
  const year_month month = date.year() / date.month();
  return {to_ms(sys_days(month / 1)), to_ms(sys_days((month + months(1)) / 1)),
          fmt::format("{:04}-{:02}", static_cast<int>(date.year()), static_cast<unsigned>(date.month()))};
}

// ISO 8601: weeks begin on Monday, and a week belongs to the year of its Thursday.
Span week_at(std::int64_t local_ms) {
  const sys_days day = day_of(local_ms);
  const sys_days monday = day - (std::chrono::weekday(day) - std::chrono::Monday);
  const year_month_day thursday(monday + days(3));
  const sys_days first = sys_days(thursday.year() / 1 / 1);
  const auto number = (monday + days(3) - first).count() / 7 + 1;
  return {to_ms(monday), to_ms(monday + days(7)),
          fmt::format("{:04}-W{:02}", static_cast<int>(thursday.year()), number)};
}

}  // namespace

Result<Calendar> Calendar::create(std::string_view window, std::int64_t utc_offset_minutes) {
  if (utc_offset_minutes < -kOffsetMinutesMax || utc_offset_minutes > kOffsetMinutesMax) {
    return fail(Code::kInvalidArgument, "monitors.bad_offset",
                fmt::format("utc_offset_minutes {} is out of range.", utc_offset_minutes),
                fmt::format("Give {} to {}.", -kOffsetMinutesMax, kOffsetMinutesMax));
  }
  const std::int64_t offset_ms = utc_offset_minutes * 60'000;
  if (window == "day") return Calendar(Unit::day, kDayMs, offset_ms);
  if (window == "week") return Calendar(Unit::week, 7 * kDayMs, offset_ms);
  if (window == "month") return Calendar(Unit::month, 0, offset_ms);
  const auto length_ms = parse_duration_ms(window);
  if (!length_ms || *length_ms < kFixedMinMs) {
    return fail(Code::kInvalidArgument, "monitors.bad_window", fmt::format("'{}' is not a window.", window),
                "Give day, week, month, or a duration of at least 1m such as 6h.", {{"window", std::string(window)}});
  }
  return Calendar(Unit::fixed, *length_ms, offset_ms);
}

Span Calendar::at(std::int64_t at_ms) const {
  const std::int64_t local_ms = at_ms + offset_ms_;
  Span span;
  switch (unit_) {
    case Unit::month:
      span = month_at(local_ms);
      break;
    case Unit::week:
      span = week_at(local_ms);
      break;
    case Unit::day: {
      const std::int64_t start_ms = floor_to(local_ms, kDayMs);
      span = {start_ms, start_ms + kDayMs, format_utc(start_ms).substr(0, 10)};
      break;
    }
    case Unit::fixed: {
      const std::int64_t start_ms = floor_to(local_ms, length_ms_);
      span = {start_ms, start_ms + length_ms_, format_utc(start_ms).substr(0, 16)};
      break;
    }
  }
  span.start_ms -= offset_ms_;
  span.end_ms -= offset_ms_;
  return span;
}

}  // namespace tidemill::monitors
