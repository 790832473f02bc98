#include "base/clock.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <limits>
#include <optional>

namespace tidemill {
namespace {

using std::chrono::days;
using std::chrono::milliseconds;
using std::chrono::sys_days;
using std::chrono::year_month_day;

// Reads exactly `digits` decimal digits at the front of `text` and removes them.
std::optional<int> take_digits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc{} || end != text.data() + digits || value < 0) return std::nullopt;
  text.remove_prefix(digits);
  return value;
}

bool take_char(std::string_view& text, char expected) {
  if (text.empty() || text.front() != expected) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<std::int64_t> take_date_ms(std::string_view& text) {
  const auto year = take_digits(text, 4);
  if (!year || !take_char(text, '-')) return std::nullopt;
  const auto month = take_digits(text, 2);
  if (!month || !take_char(text, '-')) return std::nullopt;
  const auto day = take_digits(text, 2);
  if (!day) return std::nullopt;
  const year_month_day date{std::chrono::year(*year), std::chrono::month(static_cast<unsigned>(*month)),
                            std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return milliseconds(sys_days(date).time_since_epoch()).count();
}

std::optional<std::int64_t> take_time_ms(std::string_view& text) {
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take_char(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59 || !take_char(text, ':')) return std::nullopt;
  const auto second = take_digits(text, 2);
  if (!second || *second > 60) return std::nullopt;  // 60: a leap second, counted as the next minute's first
  std::int64_t total_ms = ((*hour * 60LL + *minute) * 60 + *second) * 1000;
  if (take_char(text, '.')) {
    std::int64_t scale = 100;
    if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
    while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
      total_ms += (text.front() - '0') * scale;
      scale /= 10;
      text.remove_prefix(1);
    }
  }
  return total_ms;
}

std::optional<std::int64_t> take_offset_ms(std::string_view& text) {
  if (take_char(text, 'Z')) return 0;
  const int sign = take_char(text, '+') ? 1 : (take_char(text, '-') ? -1 : 0);
  if (sign == 0) return std::nullopt;
  const auto hour = take_digits(text, 2);
  if (!hour || *hour > 23 || !take_char(text, ':')) return std::nullopt;
  const auto minute = take_digits(text, 2);
  if (!minute || *minute > 59) return std::nullopt;
  return sign * (*hour * 60LL + *minute) * 60'000;
}

}  // namespace

std::int64_t SystemClock::now_ms() const {
  return std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::int64_t SystemClock::steady_ms() const {
  return std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string format_utc(std::int64_t at_ms) {
  const auto point = std::chrono::sys_time<milliseconds>(milliseconds(at_ms));
  const auto day = std::chrono::floor<days>(point);
  const year_month_day date(day);
  const std::chrono::hh_mm_ss<milliseconds> time(point - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count(), time.subseconds().count());
}

Result<std::int64_t> parse_utc(std::string_view text) {
  std::string_view rest = text;
  const auto refuse = [&] {
    return fail(Code::kInvalidArgument, "time.malformed", "'" + std::string(text.substr(0, 64)) + "' is not a time.",
                "Write it as 2013-01-31 or 2013-01-31T23:59:59Z.");
  };
  const auto date_ms = take_date_ms(rest);
  if (!date_ms) return refuse();
  if (rest.empty()) return *date_ms;
  if (!take_char(rest, 'T') && !take_char(rest, ' ')) return refuse();
  const auto time_ms = take_time_ms(rest);
  if (!time_ms) return refuse();
  const auto offset_ms = take_offset_ms(rest);
  if (!offset_ms || !rest.empty()) return refuse();
  return *date_ms + *time_ms - *offset_ms;
}

Result<std::int64_t> parse_duration_ms(std::string_view text) {
  const auto refuse = [&] {
    return fail(Code::kInvalidArgument, "time.malformed_duration",
                "'" + std::string(text.substr(0, 64)) + "' is not a duration.",
                "Write it as 250ms, 90s, 15m, 3h or 7d.");
  };
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || count < 0) return refuse();
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr std::array<std::pair<std::string_view, std::int64_t>, 5> kUnits{
      {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
  for (const auto& [name, factor] : kUnits) {
    if (unit != name) continue;
    if (count > std::numeric_limits<std::int64_t>::max() / factor) return refuse();
    return count * factor;
  }
  return refuse();
}

}  // namespace tidemill
