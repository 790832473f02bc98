#include "jobs/schedule.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <optional>
#include <span>
#include <vector>

#include "base/clock.h"

namespace tidemill::jobs {
namespace {

constexpr std::int64_t kMinuteMs = 60'000;
constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kDaysMax = 9 * 366;  // 29 February may be 8 years away (1896 to 1904)

constexpr std::array<std::string_view, 12> kMonths{"jan", "feb", "mar", "apr", "may", "jun",
                                                   "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdays{"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  std::string_view noun;
  int low;
  int high;
  std::span<const std::string_view> names;  // the first means `low`
};

std::unexpected<Error> refuse(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "jobs.bad_cron",
              "The cron rule '" + std::string(text.substr(0, 100)) + "' " + std::string(why) + ".",
              "Write five fields, minute hour day month weekday, such as '30 3 * * mon' (UTC).");
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(at);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<int> number_in(const Field& field, std::string_view text) {
  for (std::size_t i = 0; i < field.names.size(); ++i) {
    if (text == field.names[i]) return field.low + static_cast<int>(i);
  }
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < field.low || value > field.high)
    return std::nullopt;
  return value;
}

// Sets the bits that one item of a list names: "*", "5", "1-5", "*/2", "10-50/10", "5/15" (from 5 on).
template <std::size_t N>
bool add_item(const Field& field, std::string_view item, std::bitset<N>& bits) {
  const std::size_t slash = item.find('/');
  int step = 1;
  if (slash != std::string_view::npos) {
    const std::string_view digits = item.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
    if (error != std::errc{} || end != digits.data() + digits.size() || step < 1) return false;
    item = item.substr(0, slash);
  }
  int first = field.low;
  int last = field.high;
  if (item != "*") {
    const std::size_t dash = item.find('-');
    const auto from = number_in(field, item.substr(0, dash));
    if (!from) return false;
    first = *from;
    if (dash != std::string_view::npos) {
      const auto to = number_in(field, item.substr(dash + 1));
      if (!to || *to < first) return false;
      last = *to;
    } else if (slash == std::string_view::npos) {
      last = first;
    }
  }
  for (int value = first; value <= last; value += step) bits.set(static_cast<std::size_t>(value) % N);
  return true;
}

template <std::size_t N>
bool add_field(const Field& field, std::string_view text, std::bitset<N>& bits) {
  return std::ranges::all_of(split(text, ','), [&](std::string_view item) { return add_item(field, item, bits); });
}

std::string_view expand_name(std::string_view text) {
  if (text == "@hourly") return "0 * * * *";
  if (text == "@daily" || text == "@midnight") return "0 0 * * *";
  if (text == "@weekly") return "0 0 * * 0";
  if (text == "@monthly") return "0 0 1 * *";
  if (text == "@yearly" || text == "@annually") return "0 0 1 1 *";
  return text;
}

}  // namespace

Result<Schedule> Schedule::every(std::string_view duration) {
  Schedule schedule;
  schedule.every_ms_ = TM_TRY(parse_duration_ms(duration));
  if (schedule.every_ms_ < kEveryMinMs) {
    return fail(Code::kInvalidArgument, "jobs.too_often",
                "'" + std::string(duration) + "' is too short to repeat something.", "Use one second or more.");
  }
  schedule.text_ = "every " + std::string(duration);
  return schedule;
}

Result<Schedule> Schedule::cron(std::string_view text) {
  const std::string rule = lower(expand_name(text));
  std::vector<std::string_view> parts = split(rule, ' ');
  std::erase(parts, "");
  if (parts.size() != 5) return refuse(text, "has " + std::to_string(parts.size()) + " fields instead of 5");
  Schedule schedule;
  schedule.text_ = "cron " + std::string(text);
  if (!add_field({"minute", 0, 59, {}}, parts[0], schedule.minutes_))
    return refuse(text, "has a bad minute '" + std::string(parts[0]) + "'");
  if (!add_field({"hour", 0, 23, {}}, parts[1], schedule.hours_))
    return refuse(text, "has a bad hour '" + std::string(parts[1]) + "'");
  if (!add_field({"day", 1, 31, {}}, parts[2], schedule.days_))
    return refuse(text, "has a bad day '" + std::string(parts[2]) + "'");
  if (!add_field({"month", 1, 12, kMonths}, parts[3], schedule.months_))
    return refuse(text, "has a bad month '" + std::string(parts[3]) + "'");
  // 0 to 7, where both ends are Sunday: the bitset of 7 folds them.
  if (!add_field({"weekday", 0, 7, kWeekdays}, parts[4], schedule.weekdays_)) {
    return refuse(text, "has a bad weekday '" + std::string(parts[4]) + "'");
  }
  schedule.any_day_ = parts[2].starts_with('*');
  schedule.any_weekday_ = parts[4].starts_with('*');
  if (schedule.next_cron_ms(0) < 0) return refuse(text, "names a date that never comes");
  return schedule;
}

Result<Schedule> Schedule::parse(std::string_view text) {
  if (text.starts_with("every ")) return every(text.substr(6));
  if (text.starts_with("cron ")) return cron(text.substr(5));
  return refuse(text, "is neither 'every …' nor 'cron …'");
}

std::int64_t Schedule::next_ms(std::int64_t after_ms) const {
  return every_ms_ > 0 ? after_ms + every_ms_ : next_cron_ms(after_ms);
}

std::int64_t Schedule::corrected_ms(std::int64_t stored_ms, std::int64_t now_ms) const {
  if (every_ms_ > 0 && stored_ms > now_ms + every_ms_) return now_ms + every_ms_;
  return stored_ms;
}

bool Schedule::day_matches(std::int64_t day) const {
  const std::chrono::sys_days point{std::chrono::days(day)};
  const std::chrono::year_month_day date(point);
  if (!months_.test(static_cast<unsigned>(date.month()))) return false;
  const bool by_day = days_.test(static_cast<unsigned>(date.day()));
  const bool by_weekday = weekdays_.test(std::chrono::weekday(point).c_encoding());
  // crontab(5): "if both fields are restricted, the command will be run when either field matches".
  return any_day_ || any_weekday_ ? by_day && by_weekday : by_day || by_weekday;
}

std::int64_t Schedule::next_cron_ms(std::int64_t after_ms) const {
  const std::int64_t first_minute = (after_ms >= 0 ? after_ms / kMinuteMs : (after_ms - kMinuteMs + 1) / kMinuteMs) + 1;
  constexpr std::int64_t kMinutesADay = kDayMs / kMinuteMs;
  const std::int64_t first_day = first_minute / kMinutesADay;
  for (std::int64_t day = first_day; day < first_day + kDaysMax; ++day) {
    if (!day_matches(day)) continue;
    for (std::int64_t minute = day == first_day ? first_minute % kMinutesADay : 0; minute < kMinutesADay; ++minute) {
      if (hours_.test(static_cast<std::size_t>(minute / 60)) && minutes_.test(static_cast<std::size_t>(minute % 60))) {
        return day * kDayMs + minute * kMinuteMs;
      }
    }
  }
  return -1;
}

}  // namespace tidemill::jobs
