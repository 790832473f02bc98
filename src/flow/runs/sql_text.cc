#include "flow/runs/sql_text.h"

#include "base/json.h"
#include "flow/runs/metric_value.h"

namespace tidemill::runs {
namespace {

std::string json_list(const std::vector<std::string>& texts) { return json::encode(texts); }

// The sortable forms that compare equal to `value`: one, or both zeros.
struct Range {
  std::int64_t low;
  std::int64_t high;
};

Range equals_of(double value) {
  if (value == 0) return {to_sortable(-0.0), to_sortable(0.0)};
  return {to_sortable(value), to_sortable(value)};
}

std::string_view sign_of(Operator op) { return operator_text(op); }

}  // namespace

SqlText& SqlText::operator<<(sql::Value value) {
  values_.push_back(std::move(value));
  text_ += '?' + std::to_string(values_.size());
  return *this;
}

// The plus keeps SQLite from putting the constant in the place of x.value in the other term too, which would then no
// longer be the indexed expression.
void append_indexed_text(SqlText& sql, const std::string& text) {
  sql << "substr(x.value, 1, 64) = substr(" << sql::Value(text) << ", 1, 64) AND +x.value = " << sql::Value(text);
}

void append_textual(SqlText& sql, std::string_view column, const Comparison& comparison) {
  sql << column;
  switch (comparison.op) {
    case Operator::like:
      sql << " GLOB " << sql::Value(glob_of(comparison.text()));
      return;
    case Operator::ilike:
      sql << " LIKE " << sql::Value(comparison.text());
      return;
    case Operator::in:
    case Operator::not_in:
      sql << (comparison.op == Operator::in ? " IN" : " NOT IN") << " (SELECT value FROM json_each("
          << sql::Value(json_list(comparison.list())) << "))";
      return;
    default:
      sql << " " << sign_of(comparison.op) << " " << sql::Value(comparison.text());
  }
}

void append_numeric(SqlText& sql, std::string_view column, const Comparison& comparison) {
  sql << column << " " << sign_of(comparison.op) << " " << sql::Value(comparison.number().value);
}

void append_metric(SqlText& sql, std::string_view column, const Comparison& comparison) {
  const Range equal = equals_of(comparison.number().value);
  const auto between = [&](std::int64_t low, std::int64_t high) {
    sql << column << " BETWEEN " << sql::Value(low) << " AND " << sql::Value(high);
  };
  constexpr std::int64_t kLowest = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kHighest = kSortableNan - 1;
  switch (comparison.op) {
    case Operator::equal:
      between(equal.low, equal.high);
      return;
    case Operator::not_equal:
      sql << "NOT ";
      between(equal.low, equal.high);
      return;
    case Operator::less:
      between(kLowest, equal.low - 1);
      return;
    case Operator::less_equal:
      between(kLowest, equal.high);
      return;
    case Operator::greater:
      between(equal.high + 1, kHighest);
      return;
    default:
      between(equal.low, kHighest);
      return;
  }
}

void append_ids(SqlText& sql, std::span<const ExperimentId> ids) {
  if (ids.size() == 1) {
    sql << " = " << sql::Value(ids.front().number());
    return;
  }
  json::Array numbers;
  for (const ExperimentId& id : ids) numbers.emplace_back(id.number());
  sql << " IN (SELECT value FROM json_each(" << sql::Value(json::serialize(numbers)) << "))";
}

}  // namespace tidemill::runs
