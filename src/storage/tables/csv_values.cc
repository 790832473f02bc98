#include "storage/tables/csv_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

namespace tidemill::tables {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Returns whether the number has zeros in front that a number does not need: 007, 00.5.
bool has_leading_zero(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return text.size() > 1 && text[0] == '0' && is_digit(text[1]);
}

bool is_whole(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return !text.empty() && std::ranges::all_of(text, is_digit);
}

// Takes exactly `digits` digits off the front.
bool take(std::string_view& text, std::size_t digits, int& number) {
  if (text.size() < digits) return false;
  number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (!is_digit(text[i])) return false;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

// Takes HH:MM[:SS[.f…]] off the front, as milliseconds of the day.
std::optional<std::int64_t> take_clock(std::string_view& text) {
  int hour = 0;
  int minute = 0;
  int second = 0;
  std::int64_t ms = 0;
  if (!take(text, 2, hour) || !take(text, ':') || !take(text, 2, minute)) return std::nullopt;
  if (take(text, ':')) {
    if (!take(text, 2, second)) return std::nullopt;
    if (take(text, '.')) {
      std::size_t digits = 0;
      while (digits < text.size() && is_digit(text[digits])) ++digits;
      if (digits == 0 || digits > 9) return std::nullopt;
      for (std::size_t i = 0; i < 3; ++i) ms = ms * 10 + (i < digits ? text[i] - '0' : 0);
      text.remove_prefix(digits);
    }
  }
  if (hour > 23 || minute > 59 || second > 59) return std::nullopt;
  return ((hour * 60 + minute) * 60 + second) * 1000LL + ms;
}

// Takes the zone that must end the text; returns what it is ahead of UTC in ms.
std::optional<std::int64_t> take_zone(std::string_view text) {
  if (text.empty() || text == "Z" || text == "z" || text == "UTC" || text == " UTC") return 0;
  const std::int64_t sign = text.front() == '-' ? -1 : 1;
  if (text.front() != '+' && text.front() != '-') return std::nullopt;
  text.remove_prefix(1);
  int hour = 0;
  int minute = 0;
  if (!take(text, 2, hour)) return std::nullopt;
  if (!text.empty() && (text.front() == ':' ? !take(text, ':') || !take(text, 2, minute) : !take(text, 2, minute)))
    return std::nullopt;
  if (!text.empty() || hour > 23 || minute > 59) return std::nullopt;
  return sign * (hour * 60 + minute) * 60'000LL;
}

template <class T>
bool append(std::vector<T>& values, std::optional<T> value) {
  if (!value) return false;
  values.push_back(*value);
  return true;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<bool> parse_boolean(std::string_view text) {
  if (text == "true" || text == "TRUE" || text == "True") return true;
  if (text == "false" || text == "FALSE" || text == "False") return false;
  return std::nullopt;
}

std::optional<std::int64_t> parse_integer(std::string_view text) {
  if (has_leading_zero(text)) return std::nullopt;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<double> parse_real(std::string_view text) {
  if (has_leading_zero(text) || text.ends_with(')')) return std::nullopt;  // from_chars would take nan(…)
  if (is_whole(text)) {
    const auto whole = parse_integer(text);
    return whole ? std::optional(text == "-0" ? -0.0 : static_cast<double>(*whole)) : std::nullopt;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::int64_t> parse_time_ms(std::string_view text) {
  int year = 0;
  int month = 0;
  int day = 0;
  if (text.size() < 10 || text[4] != '-') return std::nullopt;  // most cells are told apart here
  if (!take(text, 4, year) || !take(text, '-') || !take(text, 2, month) || !take(text, '-') || !take(text, 2, day))
    return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || year == 0) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  std::int64_t ms = days * 86'400'000;
  if (text.empty()) return ms;
  if (!take(text, 'T') && !take(text, ' ')) return std::nullopt;
  const auto clock = take_clock(text);
  const auto ahead = clock ? take_zone(text) : std::nullopt;
  if (!ahead) return std::nullopt;
  return ms + *clock - *ahead;
}

bool is_missing(const Cell& cell, const CsvOptions& options) {
  if (cell.quoted) return false;
  const std::string_view text = trimmed(cell.text);
  return text.empty() || std::ranges::find(options.missing, text) != options.missing.end();
}

void TypeGuess::see(const Cell& cell, const CsvOptions& options) {
  if (is_missing(cell, options)) return;
  if (cell.text.empty()) {
    ++empty_quoted_;
    return;
  }
  ++values_;
  const std::string_view text = cell.quoted ? cell.text : trimmed(cell.text);
  // Whole numbers are real numbers too, so a column that holds integers needs one test a cell.
  if (integer_ && real_ && parse_integer(text)) {
    boolean_ = time_ = false;
    return;
  }
  integer_ = false;
  real_ = real_ && parse_real(text).has_value();
  boolean_ = boolean_ && parse_boolean(text).has_value();
  time_ = time_ && parse_time_ms(text).has_value();
}

Type TypeGuess::type() const {
  if (values_ == 0) return Type::text;
  if (integer_) return Type::integer;
  if (real_) return Type::real;
  if (boolean_) return Type::boolean;
  return time_ ? Type::time : Type::text;
}

bool append_cell(const Cell& cell, const CsvOptions& options, Column& column) {
  if (is_missing(cell, options) || (cell.text.empty() && column.type != Type::text)) {
    column.append_missing();
    return true;
  }
  const std::string_view text = cell.quoted ? cell.text : trimmed(cell.text);
  bool fits = true;
  switch (column.type) {
    case Type::boolean: {
      const auto flag = parse_boolean(text);
      fits = append(std::get<0>(column.values), flag ? std::optional<std::uint8_t>(*flag) : std::nullopt);
      break;
    }
    case Type::integer:
      fits = append(std::get<1>(column.values), parse_integer(text));
      break;
    case Type::time:
      fits = append(std::get<1>(column.values), parse_time_ms(text));
      break;
    case Type::real:
      fits = append(std::get<2>(column.values), parse_real(text));
      break;
    case Type::text:
      std::get<3>(column.values).emplace_back(cell.text);
      break;
  }
  if (fits && !column.valid.empty()) column.valid.push_back(1);
  return fits;
}

}  // namespace tidemill::tables
