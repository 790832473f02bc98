// The search language of MLflow, read once for everything that is searched.
//
//   metrics.auc > 0.7 AND params."max depth" = '5' AND tags.team LIKE 'risk%' AND attributes.run_id IN ('…', '…')
//
// Comparisons joined by AND, nothing else. On the left a field: entity.key, or a bare attribute; either part may stand
// in `backticks` or "double quotes", and so may what follows the last dot of the key. On the right a number, a quoted
// text (kept as it stands between its quotes: there are no escapes), or a list of quoted texts. Keywords in any case.
// This file knows the form; who searches decides which fields there are (Vocabulary).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "flow/runs/types.h"

namespace tidemill::runs {

enum class Operator {
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  like,
  ilike,
  in,
  not_in,
  is_null,
  is_not_null
};

// A number as it was written, and as a double.
struct Number {
  std::string text;
  double value = 0;
  bool whole = false;
};

struct Comparison {
  std::string entity;  // as written, "" for a bare attribute
  std::string key;
  Operator op = Operator::equal;
  std::variant<std::monostate, Number, std::string, std::vector<std::string>> value;  // monostate for IS [NOT] NULL

  [[nodiscard]] const std::string& text() const { return std::get<std::string>(value); }
  [[nodiscard]] const Number& number() const { return std::get<Number>(value); }
  [[nodiscard]] const std::vector<std::string>& list() const { return std::get<std::vector<std::string>>(value); }
};

struct Order {
  std::string entity;
  std::string key;
  bool descending = false;
};

// Returns the comparisons, none for an empty or blank text; kInvalidArgument names what is wrong and where.
[[nodiscard]] Result<std::vector<Comparison>> parse_filter(std::string_view text, const Limits& limits = {});
// Returns the term of an ORDER BY: a field, perhaps followed by ASC or DESC.
[[nodiscard]] Result<Order> parse_order(std::string_view text, const Limits& limits = {});

// Returns the operator as it is written, such as "NOT IN".
[[nodiscard]] std::string_view operator_text(Operator op);

// Returns whether `text` fits an SQL LIKE pattern, where % stands for any text and _ for one character; `fold` ignores
// the case of ASCII letters. O(text × pattern) at worst.
[[nodiscard]] bool like(std::string_view text, std::string_view pattern, bool fold);

// Returns whether a text satisfies a comparison whose value is text or a list.
[[nodiscard]] bool holds(const Comparison& comparison, std::string_view text);
// Returns whether a number satisfies a comparison whose value is a number. NaN satisfies != alone.
[[nodiscard]] bool holds(const Comparison& comparison, double number);

// Return kInvalidArgument unless the comparison has an operator and a value that fit a number, or a text (`lists`
// allows IN and NOT IN, `null` IS NULL).
[[nodiscard]] Result<void> check_numeric(const Comparison& comparison);
[[nodiscard]] Result<void> check_textual(const Comparison& comparison, bool lists, bool null);

// Returns a LIKE pattern as one for SQLite's GLOB, which minds the case.
[[nodiscard]] std::string glob_of(std::string_view like_pattern);

[[nodiscard]] std::unexpected<Error> bad_filter(std::string message);

}  // namespace tidemill::runs
