#include "flow/datasets/rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/clock.h"
#include "base/enums.h"

namespace tidemill::datasets {
namespace {

constexpr std::size_t kPatternBytesMax = 4096;
constexpr std::size_t kNameBytesMax = 256;

// Returns a limit as a number: as it stands, or the milliseconds of a time; nothing for null.
Result<std::optional<double>> limit_of(const json::Value& limit) {
  if (limit.is_null()) return std::optional<double>();
  if (limit.is_string())
    return std::optional(static_cast<double>(TM_TRY(parse_utc(std::string_view(limit.get_string())))));
  boost::system::error_code error;
  const auto number = limit.to_number<double>(error);
  if (error || !std::isfinite(number)) {
    return fail(Code::kInvalidArgument, "datasets.bad_rule", "A limit must be a number or a time.",
                "Write 0, 2.5 or \"2013-01-31\".");
  }
  return std::optional(number);
}

std::string limit_text(const json::Value& limit) {
  if (limit.is_null()) return "";
  return limit.is_string() ? std::string(limit.get_string()) : json::serialize(limit);
}

// What is wrong with the fields of a rule, as {problem, remedy}; empty when nothing is.
std::pair<std::string, std::string> fault_of(const Rule& rule, const Settings& settings) {
  const bool several = rule.kind == RuleKind::unique && !rule.columns.empty();
  if (rule.kind == RuleKind::unset) {
    return {"has no kind", fmt::format("Set kind to one of {}.", fmt::join(enum_names<RuleKind>(), ", "))};
  }
  if (rule.kind == RuleKind::row_count ? !rule.column.empty() : (rule.column.empty() != several)) {
    return {rule.kind == RuleKind::row_count ? "names a column" : "names no column",
            "Set column; only unique may name columns instead, and row_count none."};
  }
  if (!rule.columns.empty() && rule.kind != RuleKind::unique) return {"names columns", "Only unique takes columns."};
  const bool limits = rule.kind == RuleKind::range || rule.kind == RuleKind::row_count;
  if (limits == (rule.low.is_null() && rule.high.is_null())) {
    return limits ? std::pair<std::string, std::string>{"has neither low nor high", "Set low, high or both."}
                  : std::pair<std::string, std::string>{"has low or high", "Only range and row_count take them."};
  }
  if ((rule.kind == RuleKind::one_of) == rule.values.empty())
    return {"has the wrong values", "one_of, and only that, lists the allowed values as text."};
  if (static_cast<std::int64_t>(rule.values.size()) > settings.values_max)
    return {fmt::format("has more than {} values", settings.values_max), "Give fewer, or a pattern."};
  if ((rule.kind == RuleKind::pattern) == rule.pattern.empty())
    return {"has the wrong pattern", "pattern, and only that, has a regular expression."};
  if (rule.pattern.size() > kPatternBytesMax)
    return {fmt::format("has a pattern of more than {} bytes", kPatternBytesMax), "Shorten it."};
  if ((rule.kind == RuleKind::fresh) == rule.age_max.empty())
    return {"has the wrong age_max", "fresh, and only that, has an age such as 7d."};
  if (!(rule.share_max >= 0 && rule.share_max <= 1))
    return {"has a share_max outside of 0..1", "Write 0.01 for one in a hundred."};
  if (rule.name.size() > kNameBytesMax)
    return {fmt::format("has a name of more than {} bytes", kNameBytesMax), "Shorten it."};
  return {};
}

// A pattern that cannot be read would refuse every file; the engine that will match it is asked.
Result<void> check_pattern(tables::Tables& tables, const Rule& rule) {
  const auto matched = tables.query({"datasets.check_pattern", "SELECT regexp_full_match('', $1)"}, {rule.pattern});
  if (matched) return {};
  if (matched.error().code != Code::kInvalidArgument) return fail(matched.error());
  return fail(Code::kInvalidArgument, "datasets.bad_rule",
              fmt::format("The pattern '{}' is not a regular expression: {}", rule.pattern.substr(0, 128),
                          matched.error().message),
              "Write it in RE2's syntax; a backslash before ( [ { . * + ? takes them as they are.");
}

Result<void> check_values(tables::Tables& tables, const Rule& rule) {
  const auto low = TM_TRY(limit_of(rule.low));
  const auto high = TM_TRY(limit_of(rule.high));
  if (low && high && *low > *high) {
    return fail(Code::kInvalidArgument, "datasets.bad_rule",
                fmt::format("low {} is above high {}.", limit_text(rule.low), limit_text(rule.high)), "Swap them.");
  }
  if (!rule.age_max.empty()) TM_CHECK(parse_duration_ms(rule.age_max));
  if (rule.kind == RuleKind::pattern) TM_CHECK(check_pattern(tables, rule));
  return {};
}

// One rule being judged.
class Judge {
 public:
  Judge(tables::Tables& tables, const Candidate& candidate, const Settings& settings)
      : tables_(tables), candidate_(candidate), settings_(settings) {}

  Result<RuleResult> operator()(const Rule& rule);

 private:
  // How rows that break a rule are found: a condition on each row of `source`, with values bound from $2 on.
  struct Condition {
    std::string sql;
    std::vector<tables::Param> params;
  };

  Result<void> judge_rows(const Rule& rule, const ColumnType& column, RuleResult& result);
  Result<void> judge_unique(const Rule& rule, RuleResult& result);
  Result<void> judge_monotone(const ColumnType& column, RuleResult& result);
  Result<void> judge_fresh(const Rule& rule, const ColumnType& column, RuleResult& result);
  Result<void> judge_row_count(const Rule& rule, RuleResult& result);
  Result<Condition> condition_of(const Rule& rule, const ColumnType& column);
  Result<void> find_broken(const std::string& found, const std::vector<tables::Param>& params, RuleResult& result);
  const ColumnType* find(const std::string& name) const;
  static void broken(RuleResult& result, std::string message) {
    result.passed = false;
    result.message = std::move(message);
  }

  tables::Tables& tables_;
  const Candidate& candidate_;
  const Settings& settings_;
};

const ColumnType* Judge::find(const std::string& name) const {
  const auto found = std::ranges::find(candidate_.schema, name, &ColumnType::name);
  return found == candidate_.schema.end() ? nullptr : &*found;
}

bool can_judge(RuleKind kind, Type type) {
  switch (kind) {
    case RuleKind::range:
    case RuleKind::monotone:
      return type != Type::text;
    case RuleKind::fresh:
      return type == Type::time;
    case RuleKind::one_of:
      return type == Type::text || type == Type::integer || type == Type::boolean;
    default:
      return true;
  }
}

Result<RuleResult> Judge::operator()(const Rule& rule) {
  RuleResult result{rule.name,
                    rule.kind,
                    rule.columns.empty() ? rule.column : fmt::format("{}", fmt::join(rule.columns, ", ")),
                    rule.severity,
                    true,
                    0,
                    {},
                    {}};
  std::vector<std::string> named = rule.columns;
  if (!rule.column.empty()) named.push_back(rule.column);
  for (const auto& name : named) {
    if (find(name) != nullptr) continue;
    broken(result, fmt::format("The data have no column '{}'.", name));
    return result;
  }
  const ColumnType* column = rule.column.empty() ? nullptr : find(rule.column);
  if (column != nullptr && !can_judge(rule.kind, column->type)) {
    broken(result, fmt::format("Column '{}' is {}, which {} cannot judge.", column->name, enum_name(column->type),
                               enum_name(rule.kind)));
    return result;
  }
  switch (rule.kind) {
    case RuleKind::row_count:
      TM_CHECK(judge_row_count(rule, result));
      break;
    case RuleKind::unique:
      TM_CHECK(judge_unique(rule, result));
      break;
    case RuleKind::monotone:
      TM_CHECK(judge_monotone(*column, result));
      break;
    case RuleKind::fresh:
      TM_CHECK(judge_fresh(rule, *column, result));
      break;
    default:
      TM_CHECK(judge_rows(rule, *column, result));
      break;
  }
  return result;
}

Result<Judge::Condition> Judge::condition_of(const Rule& rule, const ColumnType& column) {
  switch (rule.kind) {
    case RuleKind::not_null:
      return Condition{"v IS NULL", {}};
    case RuleKind::one_of:
      return Condition{"CAST(v AS VARCHAR) NOT IN (SELECT unnest($2))", {rule.values}};
    case RuleKind::pattern:
      return Condition{"NOT regexp_full_match(CAST(v AS VARCHAR), $2)", {rule.pattern}};
    default:
      break;
  }
  Condition condition{column.type == Type::real ? "isnan(v)" : "", {}};
  const std::string number = TM_TRY(number_sql({"v", column.type}));
  const auto add = [&](std::string_view op, const std::optional<double>& limit) {
    if (!limit) return;
    condition.params.emplace_back(*limit);
    condition.sql +=
        fmt::format("{}{} {} ${}", condition.sql.empty() ? "" : " OR ", number, op, condition.params.size() + 1);
  };
  add("<", TM_TRY(limit_of(rule.low)));
  add(">", TM_TRY(limit_of(rule.high)));
  return condition;
}

// Runs "SELECT count(*)" and, when there are any, the first rows, over `found`: a FROM clause with the row r and the
// value v of rows that break a rule. The columns of the data are renamed inside, so that no name of theirs can stand in
// the way of ours.
Result<void> Judge::find_broken(const std::string& found, const std::vector<tables::Param>& params,
                                RuleResult& result) {
  const auto count =
      TM_TRY(tables_.query({"datasets.judge", "SELECT count(*) " + found}, params));  // sql: names are quoted
  result.failed_rows = count.columns[0].integers()[0];
  if (result.failed_rows == 0) return {};
  // sql: names are quoted
  const std::string first =
      fmt::format("SELECT CAST(r AS BIGINT), CAST(v AS VARCHAR) {} ORDER BY 1 LIMIT {}", found, settings_.examples_max);
  const auto frame = TM_TRY(tables_.query({"datasets.examples", first}, params));
  for (std::size_t i = 0; i < frame.rows; ++i) {
    const tables::Column& value = frame.columns[1];
    result.examples.push_back(
        {frame.columns[0].integers()[i], value.is_missing(i) ? std::nullopt : std::optional(value.texts()[i])});
  }
  return {};
}

// Rules that look at one row at a time.
Result<void> Judge::judge_rows(const Rule& rule, const ColumnType& column, RuleResult& result) {
  const Condition condition = TM_TRY(condition_of(rule, column));
  std::vector<tables::Param> params{tables::texts({candidate_.upload})};
  params.insert(params.end(), condition.params.begin(), condition.params.end());
  // sql: names are quoted, values bound
  const std::string found =
      fmt::format("FROM (SELECT {} AS v, row_number() OVER () AS r FROM read_parquet($1)) WHERE {}",
                  TM_TRY(tables::quote_identifier(column.name)), condition.sql);
  auto counted = find_broken(found, params, result);
  if (!counted && rule.kind == RuleKind::pattern && counted.error().code == Code::kInvalidArgument) {
    broken(result, fmt::format("The pattern '{}' is no regular expression that can be used.", rule.pattern));
    return {};
  }
  TM_CHECK(std::move(counted));
  if (static_cast<double>(result.failed_rows) > rule.share_max * static_cast<double>(candidate_.rows)) {
    broken(result, fmt::format("{} of {} rows break it.", result.failed_rows, candidate_.rows));
  }
  return {};
}

// A row of the upload fails when any other row of the version has the same values. Rows with a missing value are not
// compared.
Result<void> Judge::judge_unique(const Rule& rule, RuleResult& result) {
  std::vector<std::string> names;
  std::vector<std::string> shown;
  std::vector<std::string> there;
  for (const auto& name : rule.columns.empty() ? std::vector{rule.column} : rule.columns) {
    names.push_back(TM_TRY(tables::quote_identifier(name)));
    shown.push_back(fmt::format("CAST({} AS VARCHAR)", names.back()));
    there.push_back(fmt::format("{} IS NULL", names.back()));
  }
  std::vector<std::filesystem::path> files = candidate_.before;
  files.push_back(candidate_.upload);
  // sql: names are quoted, values bound
  const std::string found = fmt::format(
      "FROM (SELECT n - $2 AS r, v FROM (SELECT row_number() OVER () AS n, concat_ws(', ', {1}) AS v, {2} AS gap, "
      "count(*) OVER (PARTITION BY {0}) AS same"
      " FROM read_parquet($1)) WHERE same > 1 AND NOT gap AND n > $2)",
      fmt::join(names, ", "), fmt::join(shown, ", "), fmt::join(there, " OR "));
  TM_CHECK(find_broken(found, {tables::texts(files), candidate_.rows_before}, result));
  if (result.failed_rows > 0)
    broken(result, fmt::format("{} rows have values that another row has, too.", result.failed_rows));
  return {};
}

Result<void> Judge::judge_monotone(const ColumnType& column, RuleResult& result) {
  // sql: names are quoted, values bound
  const std::string found = fmt::format(
      "FROM (SELECT r, v, lag(v IGNORE NULLS) OVER (ORDER BY r) AS above"
      " FROM (SELECT {} AS v, row_number() OVER () AS r FROM read_parquet($1))) WHERE v < above",
      TM_TRY(tables::quote_identifier(column.name)));
  TM_CHECK(find_broken(found, {tables::texts({candidate_.upload})}, result));
  if (result.failed_rows > 0)
    broken(result, fmt::format("{} rows come before the row above them.", result.failed_rows));
  return {};
}

Result<void> Judge::judge_fresh(const Rule& rule, const ColumnType& column, RuleResult& result) {
  // sql: holds quoted names only; values are bound
  const std::string text =
      fmt::format("SELECT max({}) FROM read_parquet($1)", TM_TRY(tables::quote_identifier(column.name)));
  const auto frame = TM_TRY(tables_.query({"datasets.judge", text}, {tables::texts({candidate_.upload})}));
  if (frame.columns[0].is_missing(0)) {
    broken(result, fmt::format("Column '{}' has no time.", column.name));
    return {};
  }
  const std::int64_t newest_ms = frame.columns[0].integers()[0];
  if (candidate_.now_ms - newest_ms > TM_TRY(parse_duration_ms(rule.age_max))) {
    broken(result,
           fmt::format("The newest '{}' is {}, more than {} ago.", column.name, format_utc(newest_ms), rule.age_max));
  }
  return {};
}

Result<void> Judge::judge_row_count(const Rule& rule, RuleResult& result) {
  const auto low = TM_TRY(limit_of(rule.low));
  const auto high = TM_TRY(limit_of(rule.high));
  const auto rows = static_cast<double>(candidate_.rows);
  if ((low && rows < *low) || (high && rows > *high))
    broken(result, fmt::format("The upload has {} rows.", candidate_.rows));
  return {};
}

}  // namespace

std::string rule_name(const Rule& rule) {
  const std::string column = rule.columns.empty() ? rule.column : fmt::format("{}", fmt::join(rule.columns, "+"));
  const std::string kind(enum_name(rule.kind));
  const std::string start = column.empty() ? kind : column + " " + kind;
  switch (rule.kind) {
    case RuleKind::range:
    case RuleKind::row_count:
      return fmt::format("{} {}..{}", start, limit_text(rule.low), limit_text(rule.high));
    case RuleKind::one_of:
      return fmt::format("{} {}{}", start,
                         fmt::join(rule.values.begin(),
                                   rule.values.begin() + std::min<std::ptrdiff_t>(5, std::ssize(rule.values)), "|"),
                         rule.values.size() > 5 ? "|…" : "");
    case RuleKind::pattern:
      return fmt::format("{} {}", start, rule.pattern.substr(0, 64));
    case RuleKind::fresh:
      return fmt::format("{} {}", start, rule.age_max);
    default:
      return start;
  }
}

Result<std::vector<Rule>> check_rules(tables::Tables& tables, std::vector<Rule> rules, const Settings& settings) {
  if (static_cast<std::int64_t>(rules.size()) > settings.rules_max) {
    return fail(Code::kInvalidArgument, "datasets.bad_rule",
                fmt::format("There are {} rules; the limit is {}.", rules.size(), settings.rules_max), "Give fewer.");
  }
  std::set<std::string> names;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    Rule& rule = rules[i];
    if (const auto [problem, remedy] = fault_of(rule, settings); !problem.empty()) {
      return fail(Code::kInvalidArgument, "datasets.bad_rule", fmt::format("rules[{}] {}.", i, problem), remedy);
    }
    if (auto good = check_values(tables, rule); !good) {
      return fail(good.error().code, "datasets.bad_rule", fmt::format("rules[{}]: {}", i, good.error().message),
                  good.error().remedy);
    }
    if (rule.name.empty()) rule.name = rule_name(rule);
    if (!names.insert(rule.name).second) {
      return fail(Code::kInvalidArgument, "datasets.bad_rule",
                  fmt::format("rules[{}] is the second one named '{}'.", i, rule.name),
                  "Leave it out, or give it another name.");
    }
  }
  return rules;
}

std::vector<Rule> rules_of_keys(const std::vector<std::string>& keys) {
  std::vector<Rule> rules;
  for (const auto& key : keys) {
    Rule rule;
    rule.kind = RuleKind::not_null;
    rule.column = key;
    rule.name = "key " + rule_name(rule);
    rules.push_back(std::move(rule));
  }
  if (keys.empty()) return rules;
  Rule unique;
  unique.kind = RuleKind::unique;
  unique.columns = keys;
  unique.name = "key " + rule_name(unique);
  rules.push_back(std::move(unique));
  return rules;
}

Result<std::string> number_sql(const ColumnType& column) {
  const std::string name = TM_TRY(tables::quote_identifier(column.name));
  switch (column.type) {
    case Type::time:
      return fmt::format("epoch_ms({})", name);
    case Type::boolean:
      return fmt::format("CAST({} AS TINYINT)", name);
    default:
      return name;
  }
}

Result<Quality> judge(tables::Tables& tables, const Candidate& candidate, const std::vector<Rule>& rules,
                      const Settings& settings) {
  Quality quality;
  quality.rows_checked = candidate.rows;
  Judge judge_rule(tables, candidate, settings);
  for (const Rule& rule : rules) {
    quality.rules.push_back(TM_TRY(judge_rule(rule)));
    quality.passed = quality.passed && quality.rules.back().passed;
  }
  return quality;
}

}  // namespace tidemill::datasets
