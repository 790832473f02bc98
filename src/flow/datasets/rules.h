// Rules: whether they make sense, and whether data keep them. Private.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/datasets/datasets.h"
#include "flow/datasets/types.h"
#include "storage/tables/tables.h"

namespace tidemill::datasets {

// Returns the rules with their names filled in; kInvalidArgument "datasets.bad_rule" names the rule, the field and the
// remedy.
[[nodiscard]] Result<std::vector<Rule>> check_rules(tables::Tables& tables, std::vector<Rule> rules,
                                                    const Settings& settings);

// Returns the rules that keys stand for: never missing, together unique.
[[nodiscard]] std::vector<Rule> rules_of_keys(const std::vector<std::string>& keys);

// What is judged: the upload as Parquet, and the parts before it.
struct Candidate {
  std::filesystem::path upload;
  std::vector<std::filesystem::path> before;  // of append
  std::vector<ColumnType> schema;
  std::int64_t rows = 0;         // of the upload
  std::int64_t rows_before = 0;  // of `before`, together
  std::int64_t now_ms = 0;
};

// Judges every rule. A rule whose column the data do not have, or whose column has a type that it cannot judge, is
// broken.
[[nodiscard]] Result<Quality> judge(tables::Tables& tables, const Candidate& candidate, const std::vector<Rule>& rules,
                                    const Settings& settings);

// Returns the SQL of the column as a number: times as milliseconds, booleans as 0 and 1.
[[nodiscard]] Result<std::string> number_sql(const ColumnType& column);

// Returns "dep_time range 0..2400" and the like.
[[nodiscard]] std::string rule_name(const Rule& rule);

}  // namespace tidemill::datasets
