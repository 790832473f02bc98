// SQL that a search puts together: its text from constant parts, its values always bound.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "flow/runs/filter.h"
#include "flow/runs/types.h"
#include "storage/sql/database.h"

namespace tidemill::runs {

class SqlText {
 public:
  // Appends a constant part.
  SqlText& operator<<(std::string_view part) {
    text_ += part;
    return *this;
  }
  // Appends the parameter that `value` is bound to.
  SqlText& operator<<(sql::Value value);
  SqlText& operator<<(const char* part) { return *this << std::string_view(part); }
  SqlText& operator<<(const std::string& value) = delete;  // a part, or a value? say sql::Value(…)

  [[nodiscard]] sql::Query query(const char* name) const { return {name, text_.c_str(), false}; }
  [[nodiscard]] const sql::Values& values() const { return values_; }

 private:
  std::string text_;
  sql::Values values_;
};

// Appends "<column> <operator> <value>" for a comparison with a text or a list. The column is a constant.
void append_textual(SqlText& sql, std::string_view column, const Comparison& comparison);
// Appends that x.value is `text`, so that an index on its first 64 characters finds it.
void append_indexed_text(SqlText& sql, const std::string& text);
// Appends the same as append_textual for a number kept as it is.
void append_numeric(SqlText& sql, std::string_view column, const Comparison& comparison);
// Appends the same as append_textual for a metric kept in sortable form. NaN satisfies != alone.
void append_metric(SqlText& sql, std::string_view column, const Comparison& comparison);
// Appends " = n" or " IN (…)".
void append_ids(SqlText& sql, std::span<const ExperimentId> ids);

}  // namespace tidemill::runs
