// The search over traces. It goes the way that search over runs goes (flow/runs/search.cc): a condition that few traces
// satisfy drives, by its index; when all are satisfied by many, the traces are walked in order of time until the page
// is full. Only a search for text within spans reads what it passes.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "flow/runs/filter.h"
#include "flow/runs/sql_text.h"
#include "flow/traces/checks.h"
#include "flow/traces/traces.h"

namespace tidemill::traces {
namespace {

using runs::append_ids;
using runs::append_indexed_text;
using runs::append_numeric;
using runs::append_textual;
using runs::bad_filter;
using runs::Comparison;
using runs::Operator;
using runs::SqlText;

constexpr std::int64_t kDrivenMax = 2'000;  // up to so many traces are sorted rather than walked in order
constexpr std::string_view kAttributesPrefix = "attributes.";

constexpr sql::Query kFindKey{"traces.find_key", "SELECT id FROM trace_keys WHERE kind = ?1 AND key = ?2"};

enum class Entity { attribute, value, run, prompt, span, text, feedback, expectation, issue };

// One field of a search over traces.
struct Field {
  Entity entity = Entity::attribute;
  std::string key;          // as written
  std::int64_t key_id = 0;  // of tags and metadata; 0 = no trace has it
  std::string_view column;  // constant text
  bool is_number = false;
};

struct Condition {
  Field field;
  Comparison comparison;
};

struct Term {
  Field field;
  bool descending = false;
};

// A search as it was understood.
struct Plan {
  std::vector<ExperimentId> experiments;
  std::vector<Condition> conditions;
  std::vector<Condition> span_conditions;  // all of one span
  std::vector<Term> terms;
  std::optional<std::size_t> driver;  // index in conditions
  bool by_span = false;               // a span's name drives instead
};

Result<Field> find_attribute(std::string key) {
  struct Attribute {
    std::string_view name;
    std::string_view column;
    bool is_number;
  };
  constexpr std::string_view kEnd = "(t.at_ms + coalesce(t.duration_ms, 0))";
  constexpr std::array<Attribute, 12> kAttributes{{{"request_id", "t.id", false},
                                                   {"trace_id", "t.id", false},
                                                   {"timestamp", "t.at_ms", true},
                                                   {"timestamp_ms", "t.at_ms", true},
                                                   {"execution_time", "t.duration_ms", true},
                                                   {"execution_time_ms", "t.duration_ms", true},
                                                   {"end_time", kEnd, true},
                                                   {"end_time_ms", kEnd, true},
                                                   {"status", "upper(t.state)", false},
                                                   {"state", "upper(t.state)", false},
                                                   {"client_request_id", "t.client_request_id", false},
                                                   {"name", "t.name", false}}};
  for (const Attribute& attribute : kAttributes) {
    if (key == attribute.name) return Field{Entity::attribute, key, 0, attribute.column, attribute.is_number};
  }
  if (key == "run_id") return Field{Entity::run, key, 0, "t.run"};
  if (key == "prompt") return Field{Entity::prompt, key};
  if (key == "text") return Field{Entity::text, key, 0, "s.content"};
  if (key == "experiment_id") return Field{Entity::attribute, key, 0, "CAST(t.experiment AS TEXT)"};
  return bad_filter(fmt::format(
      "Invalid attribute key '{}'. Traces have trace_id, status, timestamp_ms, execution_time_ms, end_time_ms, name, "
      "run_id, client_request_id, prompt and text.",
      key));
}

Result<Field> find_span_field(const std::string& key) {
  if (key == "name") return Field{Entity::span, key, 0, "s.name"};
  if (key == "type") return Field{Entity::span, key, 0, "s.type"};
  if (key == "status") return Field{Entity::span, key, 0, "upper(s.status)"};
  if (key == "content") return Field{Entity::text, key, 0, "s.content"};
  if (key.starts_with(kAttributesPrefix)) {
    std::string name = key.substr(kAttributesPrefix.size());
    // A quotation mark would end the name within SQLite's path, which knows no escape.
    if (!name.empty() && name.find('"') == std::string::npos) return Field{Entity::span, std::move(name)};
  }
  return bad_filter(
      fmt::format("Invalid span attribute '{}'. Use name, type, status, content or attributes.<name>.", key));
}

// Tags and metadata under which clients keep what is a column here.
Result<Field> find_value(sql::Tx& tx, std::string_view kind, const std::string& key) {
  if (kind == "tag" && key == "mlflow.traceName") return find_attribute("name");
  if (kind == "tag" && key == "mlflow.linkedPrompts") return find_attribute("prompt");
  if (kind == "metadata" && key == "mlflow.sourceRun") return find_attribute("run_id");
  return Field{Entity::value, key, TM_TRY(tx.integer(kFindKey, 0, kind, key)), "x.value"};
}

Result<Field> find_field(sql::Tx& tx, const std::string& entity, const std::string& key) {
  if (entity.empty() || entity == "attribute" || entity == "attributes" || entity == "trace")
    return find_attribute(key);
  if (entity == "tag" || entity == "tags") return find_value(tx, "tag", key);
  if (entity == "metadata" || entity == "request_metadata") return find_value(tx, "metadata", key);
  if (entity == "span") return find_span_field(key);
  if (entity == "feedback") return Field{Entity::feedback, key, 0, "a.value"};
  if (entity == "expectation") return Field{Entity::expectation, key, 0, "a.value"};
  if (entity == "issue" && key == "id") return Field{Entity::issue, key, 0, "a.name"};
  return bad_filter(fmt::format(
      "Invalid entity type '{}'. Use attributes, tags, metadata, span, feedback, expectation or issue.id.", entity));
}

bool is_order(Operator op) { return op >= Operator::less && op <= Operator::greater_equal; }

Result<void> check_condition(const Field& field, const Comparison& comparison) {
  if (field.is_number) return runs::check_numeric(comparison);
  switch (field.entity) {
    case Entity::prompt:
    case Entity::issue:
      if (comparison.op != Operator::equal)
        return bad_filter(fmt::format("'{}' can be compared by = only.", field.key));
      if (field.entity == Entity::prompt && std::ranges::count(comparison.text(), '/') != 1) {
        return bad_filter("A prompt is given as \"name/version\".");
      }
      return runs::check_textual(comparison, false, false);
    case Entity::text:
      if (comparison.op == Operator::like || comparison.op == Operator::ilike) return {};
      return bad_filter(fmt::format("'{}' can be compared by LIKE and ILIKE only.", field.key));
    case Entity::feedback:
    case Entity::expectation:
      if (is_order(comparison.op)) return runs::check_numeric(comparison);
      return runs::check_textual(comparison, false, true);
    case Entity::value:
      return runs::check_textual(comparison, false, true);
    case Entity::attribute:
      return runs::check_textual(comparison, true, field.column == "t.name");
    default:
      return runs::check_textual(comparison, true, false);
  }
}

std::string_view kind_of(Entity entity) {
  return entity == Entity::feedback ? "feedback" : entity == Entity::expectation ? "expectation" : "issue";
}

// Appends what is asked of assessment a. Values are kept as JSON: a text is compared with the word as well as with the
// text in quotes.
void append_assessment(SqlText& sql, const Condition& condition) {
  const auto& [field, comparison] = condition;
  sql << "a.kind = " << sql::Value(std::string(kind_of(field.entity))) << " AND a.name = ";
  if (field.entity == Entity::issue) {
    sql << sql::Value(comparison.text());
    return;
  }
  sql << sql::Value(field.key) << " AND a.valid";
  switch (comparison.op) {
    case Operator::is_null:
    case Operator::is_not_null:
      return;
    case Operator::equal:
    case Operator::not_equal:
      sql << (comparison.op == Operator::equal ? " AND a.value IN (" : " AND a.value NOT IN (")
          << sql::Value(comparison.text()) << ", " << sql::Value(json::serialize(json::Value(comparison.text())))
          << ")";
      return;
    case Operator::like:
    case Operator::ilike:
      sql << " AND ";
      append_textual(sql, "a.value", comparison);
      return;
    default:
      sql << " AND json_type(a.value) IN ('integer', 'real') AND ";
      append_numeric(sql, "a.number", comparison);
  }
}

// Appends what is asked of span s.
void append_span(SqlText& sql, const Condition& condition) {
  const auto& [field, comparison] = condition;
  if (field.entity == Entity::text) {
    sql << "(";
    append_textual(sql, "s.content", comparison);
    sql << " OR ";
    append_textual(sql, "s.name", comparison);
    sql << ")";
    return;
  }
  if (!field.column.empty()) return append_textual(sql, field.column, comparison);
  // The value stands in brackets so that it is one row, named v.value: a column that append_textual can name.
  sql << "EXISTS (SELECT 1 FROM (SELECT CAST(json_extract(s.content, "
      << sql::Value(fmt::format("$.attributes.\"{}\"", field.key)) << ") AS TEXT) AS value) v WHERE ";
  append_textual(sql, "v.value", comparison);
  sql << ")";
}

// Appends what is asked of trace t.
void append_condition(SqlText& sql, const Condition& condition) {
  const auto& [field, comparison] = condition;
  const bool absent = comparison.op == Operator::is_null;
  const bool present = comparison.op == Operator::is_not_null;
  switch (field.entity) {
    case Entity::attribute:
      if (absent || present) {
        sql << field.column << (absent ? " IS NULL" : " IS NOT NULL");
      } else if (field.is_number) {
        append_numeric(sql, field.column, comparison);
      } else {
        append_textual(sql, field.column, comparison);
      }
      return;
    case Entity::value:
      sql << (absent ? "NOT " : "")
          << "EXISTS (SELECT 1 FROM trace_values x WHERE x.trace = t.n AND x.key = " << sql::Value(field.key_id);
      if (!absent && !present) {
        sql << " AND ";
        append_textual(sql, "x.value", comparison);
      }
      sql << ")";
      return;
    case Entity::run:
      if (comparison.op != Operator::equal) return append_textual(sql, field.column, comparison);
      sql << "EXISTS (SELECT 1 FROM trace_links l WHERE l.kind = 'run' AND l.target = " << sql::Value(comparison.text())
          << " AND l.trace = t.n)";
      return;
    case Entity::prompt:
      sql << "EXISTS (SELECT 1 FROM trace_links l WHERE l.kind = 'prompt' AND l.target = "
          << sql::Value(comparison.text()) << " AND l.trace = t.n)";
      return;
    default:
      sql << (absent ? "NOT " : "") << "EXISTS (SELECT 1 FROM trace_assessments a WHERE a.trace = t.n AND ";
      append_assessment(sql, condition);
      sql << ")";
  }
}

bool can_drive(const Condition& condition) {
  const auto& [field, comparison] = condition;
  switch (field.entity) {
    case Entity::value:
      return comparison.op == Operator::equal;
    case Entity::attribute:
      if (field.column == "t.id") return comparison.op == Operator::equal || comparison.op == Operator::in;
      return comparison.op == Operator::equal && (field.column == "t.name" || field.column == "t.client_request_id");
    case Entity::run:
      return comparison.op == Operator::equal;
    case Entity::feedback:
    case Entity::expectation:
      return comparison.op != Operator::is_null;
    default:
      return true;  // prompts and issues
  }
}

// Appends the rows c, one for each trace that satisfies the driving condition, with c.trace.
void append_driver(SqlText& sql, const Plan& plan, const Condition& condition) {
  const auto& [field, comparison] = condition;
  switch (field.entity) {
    case Entity::attribute:
      sql << "(SELECT t.n AS trace FROM traces t WHERE t.experiment";
      append_ids(sql, plan.experiments);
      sql << " AND ";
      append_textual(sql, field.column, comparison);
      break;
    case Entity::value:
      sql << "(SELECT x.trace FROM trace_values x WHERE x.experiment";
      append_ids(sql, plan.experiments);
      sql << " AND x.key = " << sql::Value(field.key_id) << " AND ";
      append_indexed_text(sql, comparison.text());
      break;
    case Entity::run:
    case Entity::prompt:
      sql << "(SELECT l.trace FROM trace_links l WHERE l.kind = "
          << (field.entity == Entity::run ? "'run'" : "'prompt'")
          << " AND l.target = " << sql::Value(comparison.text());
      break;
    default:
      sql << "(SELECT DISTINCT a.trace FROM trace_assessments a WHERE a.experiment";
      append_ids(sql, plan.experiments);
      sql << " AND ";
      append_assessment(sql, condition);
  }
  sql << ")";
}

const Condition* span_name_of(const Plan& plan) {
  const auto found = std::ranges::find_if(plan.span_conditions, [](const Condition& condition) {
    return condition.field.column == "s.name" && condition.comparison.op == Operator::equal;
  });
  return found == plan.span_conditions.end() ? nullptr : &*found;
}

void append_span_driver(SqlText& sql, const Plan& plan) {
  sql << "(SELECT DISTINCT s.trace FROM trace_spans s WHERE s.experiment";
  append_ids(sql, plan.experiments);
  sql << " AND s.name = " << sql::Value(span_name_of(plan)->comparison.text()) << ")";
}

Result<std::int64_t> count_driven(sql::Tx& tx, SqlText& sql, std::int64_t most) {
  sql << " LIMIT " << sql::Value(most) << ")";
  return tx.integer(sql.query("traces.count_driven"), 0, sql.values());
}

Result<void> choose_driver(sql::Tx& tx, Plan& plan) {
  std::int64_t fewest = kDrivenMax + 1;
  for (std::size_t i = 0; i < plan.conditions.size(); ++i) {
    if (!can_drive(plan.conditions[i])) continue;
    SqlText sql;
    sql << "SELECT count(*) FROM (SELECT 1 FROM ";
    append_driver(sql, plan, plan.conditions[i]);
    const std::int64_t traces = TM_TRY(count_driven(tx, sql, fewest));
    if (traces >= fewest) continue;
    fewest = traces;
    plan.driver = i;
  }
  if (span_name_of(plan) == nullptr) return {};
  SqlText sql;
  sql << "SELECT count(*) FROM (SELECT 1 FROM ";
  append_span_driver(sql, plan);
  if (TM_TRY(count_driven(tx, sql, fewest)) < fewest) {
    plan.driver.reset();
    plan.by_span = true;
  }
  return {};
}

Result<Plan> make_plan(sql::Tx& tx, const Search& search, const runs::Limits& limits) {
  Plan plan;
  const std::set<ExperimentId> asked(search.experiments.begin(), search.experiments.end());
  plan.experiments.assign(asked.begin(), asked.end());
  for (const Comparison& comparison : TM_TRY(runs::parse_filter(search.filter, limits))) {
    Condition condition{TM_TRY(find_field(tx, comparison.entity, comparison.key)), comparison};
    TM_CHECK(check_condition(condition.field, comparison));
    const bool of_span = condition.field.entity == Entity::span || condition.field.entity == Entity::text;
    (of_span ? plan.span_conditions : plan.conditions).push_back(std::move(condition));
  }
  std::set<std::pair<std::string_view, std::int64_t>> seen;
  for (const std::string& text : search.order_by) {
    const runs::Order order = TM_TRY(runs::parse_order(text, limits));
    Term term{TM_TRY(find_field(tx, order.entity, order.key)), order.descending};
    const Entity entity = term.field.entity;
    if (entity != Entity::attribute && entity != Entity::value && entity != Entity::run) {
      return bad_filter(fmt::format("Traces cannot be ordered by '{}'.", text));
    }
    if (!seen.emplace(term.field.column, term.field.key_id).second) {
      return bad_filter(fmt::format("It orders by '{}' twice.", text));
    }
    plan.terms.push_back(std::move(term));
  }
  if (static_cast<std::int64_t>(plan.terms.size()) <= limits.filter_conditions_max / 2) return plan;
  return bad_filter(fmt::format("It orders by more than {} fields.", limits.filter_conditions_max / 2));
}

void append_source(SqlText& sql, const Plan& plan) {
  sql << "SELECT t.n FROM ";
  if (plan.by_span) {
    append_span_driver(sql, plan);
    sql << " c CROSS JOIN traces t ON t.n = c.trace";
  } else if (plan.driver) {
    append_driver(sql, plan, plan.conditions[*plan.driver]);
    sql << " c CROSS JOIN traces t ON t.n = c.trace";
  } else {
    sql << "traces t";
  }
  for (std::size_t i = 0; i < plan.terms.size(); ++i) {
    if (plan.terms[i].field.entity != Entity::value) continue;
    const std::string name = fmt::format("o{}", i);
    sql << " LEFT JOIN trace_values" << std::string_view(fmt::format(" {0} ON {0}.trace = t.n AND {0}.key = ", name))
        << sql::Value(plan.terms[i].field.key_id);
  }
  sql << " WHERE t.experiment";
  append_ids(sql, plan.experiments);
  for (std::size_t i = 0; i < plan.conditions.size(); ++i) {
    if (plan.driver == i) continue;
    sql << " AND ";
    append_condition(sql, plan.conditions[i]);
  }
  if (plan.span_conditions.empty()) return;
  sql << " AND EXISTS (SELECT 1 FROM trace_spans s WHERE s.trace = t.n";
  for (const Condition& condition : plan.span_conditions) {
    sql << " AND ";
    append_span(sql, condition);
  }
  sql << ")";
}

void append_order(SqlText& sql, const Plan& plan) {
  sql << " ORDER BY ";
  bool by_time = false;
  for (std::size_t i = 0; i < plan.terms.size(); ++i) {
    const Term& term = plan.terms[i];
    const std::string named = fmt::format("o{}.value", i);
    const std::string_view value = term.field.entity == Entity::value ? std::string_view(named) : term.field.column;
    by_time = by_time || term.field.column == "t.at_ms";
    // Every trace has a time; testing it for NULL would only keep the index from being used.
    if (term.field.column != "t.at_ms") sql << value << " IS NULL, ";
    sql << value << (term.descending ? " DESC, " : ", ");
  }
  if (!by_time) sql << "t.at_ms DESC, ";
  sql << "t.id";
}

}  // namespace

Result<Page<Trace>> Traces::search(sql::Tx& tx, const Search& search) {
  if (search.limit < 1 || search.limit > limits_.search_results_max) {
    return invalid(fmt::format("Invalid value {} for parameter 'max_results' supplied: It must be between 1 and {}.",
                               search.limit, limits_.search_results_max),
                   "Read the results in pages.");
  }
  Plan plan = TM_TRY(make_plan(tx, search, runs_.limits()));
  Page<Trace> page;
  if (plan.experiments.empty()) return page;
  TM_CHECK(choose_driver(tx, plan));
  SqlText sql;
  append_source(sql, plan);
  append_order(sql, plan);
  sql << " LIMIT " << sql::Value(search.limit + 1) << " OFFSET " << sql::Value(search.offset);
  auto numbers = TM_TRY(tx.all<std::int64_t>(
      sql.query("traces.search"), [](const sql::Row& row) { return row.integer(0); }, sql.values()));
  if (static_cast<std::int64_t>(numbers.size()) > search.limit) {
    numbers.pop_back();
    page.next = search.offset + search.limit;
  }
  for (const std::int64_t n : numbers) page.items.push_back(TM_TRY(read(tx, n)));
  return page;
}

}  // namespace tidemill::traces
