#include "flow/runs/filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>
#include <utility>

namespace tidemill::runs {
namespace {

constexpr std::size_t kShownBytesMax = 64;

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
         (static_cast<unsigned char>(c) >= 0x80);
}
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

bool same_word(std::string_view text, std::string_view upper_word) {
  return std::ranges::equal(text, upper_word, {}, upper);
}

// Reads a text from its front. Every function leaves it behind what it has read.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  [[nodiscard]] bool done() const { return at_ == text_.size(); }
  [[nodiscard]] char front() const { return done() ? '\0' : text_[at_]; }
  [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }
  [[nodiscard]] std::size_t at() const { return at_; }

  // Takes the word (a whole one) if it comes next, after any space.
  bool take_word(std::string_view upper_word) {
    skip_space();
    std::size_t end = at_;
    while (end < text_.size() && is_word(text_[end])) ++end;
    if (!same_word(text_.substr(at_, end - at_), upper_word)) return false;
    at_ = end;
    return true;
  }
  bool take(char c) {
    if (front() != c || done()) return false;
    ++at_;
    return true;
  }

  // Takes characters while `keep` holds.
  template <class Keep>
  std::string_view take_while(Keep keep) {
    const std::size_t begin = at_;
    while (at_ < text_.size() && keep(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }

  // Takes a text between a pair of `quote`, which comes next; nothing when it does not end. A doubled single quote, or
  // one behind a backslash, does not end it; it stays as written.
  std::optional<std::string_view> take_quoted(char quote) {
    for (std::size_t i = at_ + 1; i < text_.size(); ++i) {
      if (quote == '\'' && i + 1 < text_.size() && (text_[i] == '\'' || text_[i] == '\\') && text_[i + 1] == '\'') {
        if (text_[i] == '\'' || text_.find('\'', i + 2) != std::string_view::npos) {
          ++i;
          continue;
        }
      }
      if (text_[i] == quote) {
        const std::string_view inside = text_.substr(at_ + 1, i - at_ - 1);
        at_ = i + 1;
        return inside;
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] std::unexpected<Error> expected(std::string_view what) const {
    if (done()) return bad_filter(fmt::format("Expected {} at the end of the text.", what));
    std::size_t cut = std::min(rest().size(), kShownBytesMax);
    while (cut > 0 && cut < rest().size() && (static_cast<unsigned char>(rest()[cut]) & 0xC0) == 0x80) --cut;
    return bad_filter(fmt::format("Expected {} at character {}: '{}'.", what, at_ + 1, rest().substr(0, cut)));
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

struct Field {
  std::string entity;
  std::string key;
};

Result<std::string_view> read_part(Reader& reader, bool dots) {
  const char quote = reader.front();
  if (quote == '`' || quote == '"') {
    const auto inside = reader.take_quoted(quote);
    if (!inside) return reader.expected(fmt::format("a closing {}", quote));
    return *inside;
  }
  const std::string_view word = reader.take_while([&](char c) { return is_word(c) || (dots && c == '.'); });
  if (word.empty() || is_digit(word.front())) {
    if (!dots || word.empty()) return reader.expected("a field such as metrics.auc");
  }
  return word;
}

Result<Field> read_field(Reader& reader) {
  reader.skip_space();
  const std::string first(TM_TRY(read_part(reader, false)));
  if (!reader.take('.')) return Field{"", first};
  std::string key(TM_TRY(read_part(reader, true)));
  if (key.ends_with('.') && (reader.front() == '`' || reader.front() == '"')) {
    key += TM_TRY(read_part(reader, true));  // span.attributes.`a b`
  }
  return Field{first, std::move(key)};
}

Result<Operator> read_operator(Reader& reader) {
  reader.skip_space();
  const std::string_view signs =
      reader.take_while([](char c) { return c == '<' || c == '>' || c == '=' || c == '!' || c == '~'; });
  constexpr std::array<std::pair<std::string_view, Operator>, 6> kSigns{{{"=", Operator::equal},
                                                                         {"!=", Operator::not_equal},
                                                                         {"<", Operator::less},
                                                                         {"<=", Operator::less_equal},
                                                                         {">", Operator::greater},
                                                                         {">=", Operator::greater_equal}}};
  for (const auto& [text, op] : kSigns) {
    if (signs == text) return op;
  }
  if (!signs.empty()) return bad_filter(fmt::format("Invalid comparator '{}'.", signs.substr(0, kShownBytesMax)));
  if (reader.take_word("LIKE")) return Operator::like;
  if (reader.take_word("ILIKE")) return Operator::ilike;
  if (reader.take_word("IN")) return Operator::in;
  if (reader.take_word("NOT")) {
    if (reader.take_word("IN")) return Operator::not_in;
    return reader.expected("IN");
  }
  if (reader.take_word("IS")) {
    const bool negated = reader.take_word("NOT");
    if (reader.take_word("NULL")) return negated ? Operator::is_not_null : Operator::is_null;
    return reader.expected("NULL");
  }
  return reader.expected("a comparison such as =");
}

Result<Number> read_number(Reader& reader) {
  Reader ahead = reader;
  std::string text(
      ahead.take_while([](char c) { return is_digit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E'; }));
  const std::size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  const std::string_view digits = std::string_view(text).substr(sign);
  Number number;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number.value);
  const bool all =
      end == digits.data() + digits.size() && !digits.empty() && (is_digit(digits.front()) || digits.front() == '.');
  if (!all || error == std::errc::invalid_argument || is_word(ahead.front())) return reader.expected("a number");
  // Beyond the range of a double: from_chars then leaves the value alone, so settle it by the sign of the exponent.
  if (error == std::errc::result_out_of_range) {
    number.value = digits.find("e-") != std::string_view::npos || digits.find("E-") != std::string_view::npos
                       ? 0.0
                       : std::numeric_limits<double>::infinity();
  }
  number.whole = std::ranges::all_of(digits, is_digit);
  if (text.front() == '-') number.value = -number.value;
  number.text = text.substr(text.front() == '+' ? 1 : 0);
  reader = ahead;
  return number;
}

Result<std::string> read_text(Reader& reader) {
  reader.skip_space();
  const char quote = reader.front();
  if (quote != '\'' && quote != '"') return reader.expected("a quoted text");
  const auto inside = reader.take_quoted(quote);
  if (!inside) return reader.expected("a text whose quote is closed");
  return std::string(*inside);
}

Result<std::vector<std::string>> read_list(Reader& reader) {
  reader.skip_space();
  if (!reader.take('(')) return reader.expected("a list such as ('a', 'b')");
  std::vector<std::string> list;
  while (true) {
    list.push_back(TM_TRY(read_text(reader)));
    reader.skip_space();
    if (reader.take(')')) return list;
    if (!reader.take(',')) return reader.expected("',' or ')'");
    reader.skip_space();
    if (reader.take(')')) return list;  // ('a',) as Python writes a tuple of one
  }
}

Result<Comparison> read_comparison(Reader& reader, const Limits& limits) {
  Field field = TM_TRY(read_field(reader));
  Comparison comparison{std::move(field.entity), std::move(field.key), TM_TRY(read_operator(reader)), {}};
  switch (comparison.op) {
    case Operator::is_null:
    case Operator::is_not_null:
      return comparison;
    case Operator::in:
    case Operator::not_in:
      comparison.value = TM_TRY(read_list(reader));
      return comparison;
    default:
      break;
  }
  reader.skip_space();
  if (reader.front() == '\'' || reader.front() == '"') {
    comparison.value = TM_TRY(read_text(reader));
  } else {
    comparison.value = TM_TRY(read_number(reader));
  }
  const bool pattern = comparison.op == Operator::like || comparison.op == Operator::ilike;
  if (!pattern) return comparison;
  if (!std::holds_alternative<std::string>(comparison.value)) return bad_filter("LIKE needs a quoted text.");
  if (static_cast<std::int64_t>(comparison.text().size()) > limits.pattern_bytes_max) {
    return bad_filter(
        fmt::format("A pattern has {} bytes, more than {}.", comparison.text().size(), limits.pattern_bytes_max));
  }
  return comparison;
}

Result<void> check_size(std::string_view text, const Limits& limits) {
  if (static_cast<std::int64_t>(text.size()) <= limits.filter_bytes_max) return {};
  return bad_filter(fmt::format("The text has {} bytes, more than {}.", text.size(), limits.filter_bytes_max));
}

char folded(char c, bool fold) { return fold ? upper(c) : c; }

// Returns the length in bytes of the character at the front.
std::size_t character_length(std::string_view text) {
  std::size_t length = 1;
  while (length < text.size() && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) ++length;
  return length;
}

}  // namespace

std::unexpected<Error> bad_filter(std::string message) {
  return fail(Code::kInvalidArgument, "runs.bad_filter", "Invalid filter or order: " + std::move(message),
              "Join comparisons such as metrics.auc > 0.7 or tags.team = 'risk' with AND.");
}

Result<std::vector<Comparison>> parse_filter(std::string_view text, const Limits& limits) {
  TM_CHECK(check_size(text, limits));
  std::vector<Comparison> comparisons;
  Reader reader(text);
  reader.skip_space();
  if (reader.done()) return comparisons;
  while (true) {
    if (static_cast<std::int64_t>(comparisons.size()) >= limits.filter_conditions_max) {
      return bad_filter(fmt::format("It has more than {} comparisons.", limits.filter_conditions_max));
    }
    comparisons.push_back(TM_TRY(read_comparison(reader, limits)));
    reader.skip_space();
    if (reader.done()) return comparisons;
    if (!reader.take_word("AND")) return reader.expected("AND");
  }
}

Result<Order> parse_order(std::string_view text, const Limits& limits) {
  TM_CHECK(check_size(text, limits));
  Reader reader(text);
  Field field = TM_TRY(read_field(reader));
  Order order{std::move(field.entity), std::move(field.key)};
  if (reader.take_word("DESC")) {
    order.descending = true;
  } else {
    reader.take_word("ASC");
  }
  reader.skip_space();
  if (!reader.done()) return reader.expected("ASC, DESC or the end");
  return order;
}

std::string_view operator_text(Operator op) {
  constexpr std::array<std::string_view, 12> kTexts{
      "=", "!=", "<", "<=", ">", ">=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"};
  return kTexts.at(static_cast<std::size_t>(op));
}

bool like(std::string_view text, std::string_view pattern, bool fold) {
  std::size_t t = 0;
  std::size_t p = 0;
  std::size_t star = std::string_view::npos;  // where to go on in the pattern when the present try fails,
  std::size_t from = 0;                       // and in the text, one character later each time
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '%') {
      star = ++p;
      from = t;
    } else if (p < pattern.size() && pattern[p] == '_') {
      t += character_length(text.substr(t));
      ++p;
    } else if (p < pattern.size() && folded(pattern[p], fold) == folded(text[t], fold)) {
      ++t;
      ++p;
    } else if (star != std::string_view::npos) {
      p = star;
      from += character_length(text.substr(from));
      t = from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('%', p) == std::string_view::npos;
}

bool holds(const Comparison& comparison, std::string_view text) {
  switch (comparison.op) {
    case Operator::equal:
      return text == comparison.text();
    case Operator::not_equal:
      return text != comparison.text();
    case Operator::like:
      return like(text, comparison.text(), false);
    case Operator::ilike:
      return like(text, comparison.text(), true);
    case Operator::in:
      return std::ranges::find(comparison.list(), text) != comparison.list().end();
    case Operator::not_in:
      return std::ranges::find(comparison.list(), text) == comparison.list().end();
    default:
      return false;
  }
}

bool holds(const Comparison& comparison, double number) {
  const double other = comparison.number().value;
  switch (comparison.op) {
    case Operator::equal:
      return number == other;
    case Operator::not_equal:
      return number != other;
    case Operator::less:
      return number < other;
    case Operator::less_equal:
      return number <= other;
    case Operator::greater:
      return number > other;
    case Operator::greater_equal:
      return number >= other;
    default:
      return false;
  }
}

Result<void> check_numeric(const Comparison& comparison) {
  if (static_cast<int>(comparison.op) > static_cast<int>(Operator::greater_equal)) {
    return bad_filter(
        fmt::format("Invalid comparator '{}' for the number '{}'.", operator_text(comparison.op), comparison.key));
  }
  if (std::holds_alternative<Number>(comparison.value)) return {};
  return bad_filter(fmt::format("Expected numeric value type for '{}'.", comparison.key));
}

Result<void> check_textual(const Comparison& comparison, bool lists, bool null) {
  const auto refuse = [&] {
    return bad_filter(fmt::format("Invalid comparator '{}' for '{}'.", operator_text(comparison.op), comparison.key));
  };
  switch (comparison.op) {
    case Operator::is_null:
    case Operator::is_not_null:
      return null ? Result<void>() : refuse();
    case Operator::in:
    case Operator::not_in:
      return lists ? Result<void>() : refuse();
    case Operator::equal:
    case Operator::not_equal:
    case Operator::like:
    case Operator::ilike:
      break;
    default:
      return refuse();
  }
  if (std::holds_alternative<std::string>(comparison.value)) return {};
  return bad_filter(fmt::format("Expected a quoted string value for '{}'.", comparison.key));
}

std::string glob_of(std::string_view like_pattern) {
  std::string glob;
  for (const char c : like_pattern) {
    switch (c) {
      case '%':
        glob += '*';
        break;
      case '_':
        glob += '?';
        break;
      case '*':
        glob += "[*]";
        break;
      case '?':
        glob += "[?]";
        break;
      case '[':
        glob += "[[]";
        break;
      default:
        glob += c;
    }
  }
  return glob;
}

}  // namespace tidemill::runs
