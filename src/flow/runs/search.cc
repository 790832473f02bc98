// The search over runs. Each comparison can either drive the search, by an index that lists the runs that satisfy it,
// or be asked of every run that something else lists. Whichever way costs least is chosen by counting: a comparison
// that few runs satisfy drives (its runs are then sorted); when all are satisfied by many, the order drives, by an
// index that lists runs in that order, so that a page is full after few of them. Either way the cost hangs on the page,
// not on how many runs there are.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "flow/runs/checks.h"
#include "flow/runs/filter.h"
#include "flow/runs/metric_value.h"
#include "flow/runs/runs.h"
#include "flow/runs/sql_text.h"

namespace tidemill::runs {
namespace {

constexpr std::int64_t kDrivenMax = 2'000;  // up to so many runs are sorted rather than walked in order

constexpr sql::Query kFindKey{"runs.find_key", "SELECT id FROM run_keys WHERE key = ?1"};
constexpr sql::Query kDeletedExperiments{"experiments.deleted",
                                         "SELECT id FROM experiments WHERE lifecycle = 'deleted'"};

enum class Entity { attribute, metric, param, tag, dataset };

// One field of a search over runs.
struct Field {
  Entity entity = Entity::attribute;
  std::string key;          // of metrics, params and tags
  std::int64_t key_id = 0;  // 0 = no run has it
  std::string_view column;  // of attributes and data sets: constant text
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
  std::vector<ExperimentId> filtered;    // experiments whose runs are asked for their own lifecycle,
  std::vector<ExperimentId> unfiltered;  // and those of which every run counts
  View view = View::active;
  std::vector<Condition> conditions;
  std::vector<Term> terms;
  std::optional<std::size_t> driver;  // index of the condition that drives
};

Result<Entity> find_entity(const std::string& name) {
  constexpr std::array<std::pair<std::string_view, Entity>, 16> kNames{{{"", Entity::attribute},
                                                                        {"attribute", Entity::attribute},
                                                                        {"attributes", Entity::attribute},
                                                                        {"attr", Entity::attribute},
                                                                        {"run", Entity::attribute},
                                                                        {"metric", Entity::metric},
                                                                        {"metrics", Entity::metric},
                                                                        {"param", Entity::param},
                                                                        {"params", Entity::param},
                                                                        {"parameter", Entity::param},
                                                                        {"parameters", Entity::param},
                                                                        {"tag", Entity::tag},
                                                                        {"tags", Entity::tag},
                                                                        {"dataset", Entity::dataset},
                                                                        {"datasets", Entity::dataset},
                                                                        {"inputs", Entity::dataset}}};
  for (const auto& [text, entity] : kNames) {
    if (name == text) return entity;
  }
  return bad_filter(fmt::format("Invalid entity type '{}'. Use metrics, params, tags, attributes or datasets.", name));
}

Result<Field> find_attribute(const std::string& key) {
  struct Attribute {
    std::string_view name;
    std::string_view column;
    bool is_number;
  };
  constexpr std::array<Attribute, 12> kAttributes{{{"run_id", "r.id", false},
                                                   {"run_name", "r.name", false},
                                                   {"run name", "r.name", false},
                                                   {"Run name", "r.name", false},
                                                   {"Run Name", "r.name", false},
                                                   {"user_id", "r.person", false},
                                                   {"status", "upper(r.status)", false},
                                                   {"start_time", "r.start_ms", true},
                                                   {"created", "r.start_ms", true},
                                                   {"Created", "r.start_ms", true},
                                                   {"end_time", "r.end_ms", true},
                                                   {"artifact_uri",
                                                    "(SELECT iif(artefact_root = '', 'mlflow-artifacts:/' || id, "
                                                    "artefact_root) FROM experiments WHERE id = r.experiment)"
                                                    " || '/' || r.id || '/artifacts'",
                                                    false}}};
  for (const Attribute& attribute : kAttributes) {
    if (key == attribute.name) return Field{Entity::attribute, key, 0, attribute.column, attribute.is_number};
  }
  return bad_filter(fmt::format(
      "Invalid attribute key '{}'. Runs have run_id, run_name, user_id, status, start_time, end_time and artifact_uri.",
      key));
}

Result<Field> find_field(sql::Tx& tx, const std::string& entity_name, const std::string& key) {
  Field field;
  field.entity = TM_TRY(find_entity(entity_name));
  field.key = key;
  switch (field.entity) {
    case Entity::attribute:
      return find_attribute(key);
    case Entity::dataset:
      if (key == "name") field.column = "d.name";
      if (key == "digest") field.column = "d.digest";
      if (key == "context") field.column = "t.value";
      if (field.column.empty())
        return bad_filter(fmt::format("Invalid dataset key '{}'. Use name, digest or context.", key));
      return field;
    default:
      field.is_number = field.entity == Entity::metric;
      field.key_id = TM_TRY(tx.integer(kFindKey, 0, key));
      return field;
  }
}

std::string_view table_of(Entity entity) {
  switch (entity) {
    case Entity::metric:
      return "run_latest_metrics";
    case Entity::param:
      return "run_params";
    default:
      return "run_tags";
  }
}

Result<Condition> read_condition(sql::Tx& tx, const Comparison& comparison) {
  Condition condition{TM_TRY(find_field(tx, comparison.entity, comparison.key)), comparison};
  const Field& field = condition.field;
  if (field.is_number) {
    TM_CHECK(check_numeric(comparison));
  } else {
    const bool lists = field.entity == Entity::dataset || field.column == "r.id";
    TM_CHECK(check_textual(comparison, lists, field.entity == Entity::param || field.entity == Entity::tag));
  }
  return condition;
}

// Appends what is asked of run r.
void append_condition(SqlText& sql, const Condition& condition) {
  const auto& [field, comparison] = condition;
  if (field.entity == Entity::attribute) {
    field.is_number ? append_numeric(sql, field.column, comparison) : append_textual(sql, field.column, comparison);
    return;
  }
  if (field.entity == Entity::dataset) {
    sql << "EXISTS (SELECT 1 FROM run_inputs i JOIN run_datasets d ON d.id = i.dataset";
    if (field.key == "context") {
      sql << " JOIN run_input_tags t ON t.run = i.run AND t.dataset = i.dataset AND t.key = 'mlflow.data.context'";
    }
    sql << " WHERE i.run = r.n AND ";
    append_textual(sql, field.column, comparison);
    sql << ")";
    return;
  }
  if (comparison.op == Operator::is_null) sql << "NOT ";
  sql << "EXISTS (SELECT 1 FROM " << table_of(field.entity)
      << " x WHERE x.run = r.n AND x.key = " << sql::Value(field.key_id);
  if (comparison.op != Operator::is_null && comparison.op != Operator::is_not_null) {
    sql << " AND ";
    field.entity == Entity::metric ? append_metric(sql, "x.value", comparison)
                                   : append_textual(sql, "x.value", comparison);
  }
  sql << ")";
}

// Appends the condition that run r is in the searched experiments and of the searched lifecycle.
void append_scope(SqlText& sql, const Plan& plan) {
  const auto filtered = [&] {
    sql << "r.experiment";
    append_ids(sql, plan.filtered);
    if (plan.view != View::all) sql << " AND r.lifecycle = " << sql::Value(std::string(enum_name(plan.view)));
  };
  if (plan.unfiltered.empty()) return filtered();
  sql << "(";
  if (!plan.filtered.empty()) {
    filtered();
    sql << " OR ";
  }
  sql << "r.experiment";
  append_ids(sql, plan.unfiltered);
  sql << ")";
}

std::vector<ExperimentId> all_experiments(const Plan& plan) {
  std::vector<ExperimentId> ids = plan.filtered;
  ids.insert(ids.end(), plan.unfiltered.begin(), plan.unfiltered.end());
  return ids;
}

bool can_drive(const Condition& condition) {
  const auto& [field, comparison] = condition;
  if (field.entity == Entity::metric) return comparison.op != Operator::not_equal;
  if (field.entity == Entity::param || field.entity == Entity::tag) return comparison.op == Operator::equal;
  return field.column == "r.id" && (comparison.op == Operator::equal || comparison.op == Operator::in);
}

// Appends the rows c, one for each run that satisfies the driving condition, with c.run.
void append_driver(SqlText& sql, const Plan& plan, const Condition& condition) {
  const auto& [field, comparison] = condition;
  if (field.entity == Entity::attribute) {
    sql << "(SELECT r.n AS run FROM runs r WHERE ";
    append_textual(sql, "r.id", comparison);
    sql << ")";
    return;
  }
  sql << "(SELECT x.run FROM " << table_of(field.entity) << " x WHERE x.experiment";
  append_ids(sql, all_experiments(plan));
  sql << " AND x.key = " << sql::Value(field.key_id) << " AND ";
  field.entity == Entity::metric ? append_metric(sql, "x.value", comparison)
                                 : append_indexed_text(sql, comparison.text());
  sql << ")";
}

Result<void> choose_driver(sql::Tx& tx, Plan& plan) {
  std::int64_t fewest = kDrivenMax + 1;
  for (std::size_t i = 0; i < plan.conditions.size(); ++i) {
    if (!can_drive(plan.conditions[i])) continue;
    SqlText sql;
    sql << "SELECT count(*) FROM (SELECT 1 FROM ";
    append_driver(sql, plan, plan.conditions[i]);
    sql << " LIMIT " << sql::Value(fewest) << ")";
    const std::int64_t runs = TM_TRY(tx.integer(sql.query("runs.count_driven"), 0, sql.values()));
    if (runs >= fewest) continue;
    fewest = runs;
    plan.driver = i;
  }
  return {};
}

// A part of the answer that an index lists in order. Without a driver, an order by a metric has three: numbers, NaN,
// and runs without it.
enum class Part { whole, numbers, nans, rest };

// Appends FROM and WHERE.
void append_source(SqlText& sql, const Plan& plan, Part part) {
  const bool by_metric = part == Part::numbers || part == Part::nans;
  sql << " FROM ";
  if (by_metric) {
    sql << "run_latest_metrics o0 CROSS JOIN runs r ON r.n = o0.run";
  } else if (plan.driver) {
    append_driver(sql, plan, plan.conditions[*plan.driver]);
    sql << " c CROSS JOIN runs r ON r.n = c.run";
  } else {
    sql << "runs r";
  }
  for (std::size_t i = by_metric ? 1 : 0; i < plan.terms.size(); ++i) {
    const Field& field = plan.terms[i].field;
    if (field.entity == Entity::attribute) continue;
    const std::string name = fmt::format("o{}", i);
    sql << " LEFT JOIN " << table_of(field.entity)
        << std::string_view(fmt::format(" {0} ON {0}.run = r.n AND {0}.key = ", name)) << sql::Value(field.key_id);
  }
  sql << " WHERE ";
  append_scope(sql, plan);
  if (by_metric) {
    sql << " AND o0.experiment";
    append_ids(sql, all_experiments(plan));
    sql << " AND o0.key = " << sql::Value(plan.terms.front().field.key_id) << " AND o0.value "
        << (part == Part::nans ? "= " : "< ") << sql::Value(kSortableNan);
  }
  if (part == Part::rest) sql << " AND o0.value IS NULL";
  for (std::size_t i = 0; i < plan.conditions.size(); ++i) {
    if (plan.driver == i) continue;
    sql << " AND ";
    append_condition(sql, plan.conditions[i]);
  }
}

void append_order(SqlText& sql, const Plan& plan, Part part) {
  sql << " ORDER BY ";
  bool by_start = false;
  for (std::size_t i = 0; i < plan.terms.size(); ++i) {
    const Term& term = plan.terms[i];
    const std::string_view direction = term.descending ? " DESC, " : ", ";
    if (term.field.entity == Entity::attribute) {
      by_start = by_start || term.field.column == "r.start_ms";
      // Every run has these; testing them for NULL would only keep the index from being used.
      if (term.field.column == "r.end_ms") sql << "r.end_ms IS NULL, ";
      sql << term.field.column << direction;
      continue;
    }
    const std::string value = fmt::format("o{}.value", i);
    if (i == 0 && (part == Part::nans || part == Part::rest)) continue;  // all alike
    if (i > 0 || part == Part::whole) {
      sql << std::string_view(value) << " IS NULL, ";
      if (term.field.entity == Entity::metric)
        sql << std::string_view(value) << " = " << sql::Value(kSortableNan) << ", ";
    }
    sql << std::string_view(value) << direction;
  }
  if (!by_start) sql << "r.start_ms DESC, ";
  sql << "r.id";
}

struct Window {
  std::int64_t limit = 0;
  std::int64_t offset = 0;
};

Result<std::vector<std::int64_t>> numbers_of(sql::Tx& tx, const Plan& plan, Part part, Window window) {
  SqlText sql;
  sql << "SELECT r.n";
  append_source(sql, plan, part);
  append_order(sql, plan, part);
  sql << " LIMIT " << sql::Value(window.limit) << " OFFSET " << sql::Value(window.offset);
  return tx.all<std::int64_t>(
      sql.query("runs.search"), [](const sql::Row& row) { return row.integer(0); }, sql.values());
}

Result<std::int64_t> count_of(sql::Tx& tx, const Plan& plan, Part part) {
  SqlText sql;
  sql << "SELECT count(*)";
  append_source(sql, plan, part);
  return tx.integer(sql.query("runs.count"), 0, sql.values());
}

// Returns the runs of the window over all parts.
Result<std::vector<std::int64_t>> walk(sql::Tx& tx, const Plan& plan, Window window) {
  const bool by_metric = !plan.driver && !plan.terms.empty() && plan.terms.front().field.entity == Entity::metric;
  if (!by_metric) return numbers_of(tx, plan, Part::whole, window);
  std::vector<std::int64_t> found;
  for (const Part part : {Part::numbers, Part::nans, Part::rest}) {
    const auto more = TM_TRY(numbers_of(tx, plan, part, window));
    found.insert(found.end(), more.begin(), more.end());
    const auto count = static_cast<std::int64_t>(more.size());
    if (count == window.limit || part == Part::rest) break;
    // The window reaches beyond this part: the next one begins after all that this part has.
    const std::int64_t total = count > 0            ? window.offset + count
                               : window.offset == 0 ? 0
                                                    : TM_TRY(count_of(tx, plan, part));
    window = {window.limit - count, window.offset - std::min(window.offset, total)};
  }
  return found;
}

Result<void> set_scope(sql::Tx& tx, const Search& search, Plan& plan) {
  const auto deleted = TM_TRY(
      tx.all<ExperimentId>(kDeletedExperiments, [](const sql::Row& row) { return ExperimentId(row.integer(0)); }));
  const std::set<ExperimentId> gone(deleted.begin(), deleted.end());
  const std::set<ExperimentId> asked(search.experiments.begin(), search.experiments.end());
  plan.view = search.view;
  for (const ExperimentId& id : asked) {
    // Every run of a deleted experiment counts as deleted, whatever its own mark.
    if (search.view == View::all || !gone.contains(id)) {
      plan.filtered.push_back(id);
    } else if (search.view == View::deleted) {
      plan.unfiltered.push_back(id);
    }
  }
  return {};
}

Result<Plan> make_plan(sql::Tx& tx, const Search& search, const Limits& limits) {
  Plan plan;
  TM_CHECK(set_scope(tx, search, plan));
  for (const Comparison& comparison : TM_TRY(parse_filter(search.filter, limits))) {
    plan.conditions.push_back(TM_TRY(read_condition(tx, comparison)));
  }
  std::set<std::pair<Entity, std::string>> seen;
  for (const std::string& text : search.order_by) {
    const Order order = TM_TRY(parse_order(text, limits));
    Term term{TM_TRY(find_field(tx, order.entity, order.key)), order.descending};
    if (term.field.entity == Entity::dataset) return bad_filter("Runs cannot be ordered by data sets.");
    const std::string name = term.field.entity == Entity::attribute ? std::string(term.field.column) : term.field.key;
    if (!seen.emplace(term.field.entity, name).second) return bad_filter(fmt::format("It orders by '{}' twice.", text));
    plan.terms.push_back(std::move(term));
  }
  if (static_cast<std::int64_t>(plan.terms.size()) > limits.filter_conditions_max / 2) {
    return bad_filter(fmt::format("It orders by more than {} fields.", limits.filter_conditions_max / 2));
  }
  return plan;
}

}  // namespace

Result<Page<Run>> Runs::search(sql::Tx& tx, const Search& search) {
  if (search.limit < 1 || search.limit > limits_.search_results_max) {
    return invalid(fmt::format("Invalid value {} for parameter 'max_results' supplied: It must be between 1 and {}.",
                               search.limit, limits_.search_results_max),
                   "Read the results in pages.");
  }
  Plan plan = TM_TRY(make_plan(tx, search, limits_));
  Page<Run> page;
  if (plan.filtered.empty() && plan.unfiltered.empty()) return page;
  TM_CHECK(choose_driver(tx, plan));
  auto numbers = TM_TRY(walk(tx, plan, {search.limit + 1, search.offset}));
  if (static_cast<std::int64_t>(numbers.size()) > search.limit) {
    numbers.pop_back();
    page.next = search.offset + search.limit;
  }
  page.items.resize(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) TM_CHECK(fill(tx, numbers[i], page.items[i]));
  return page;
}

}  // namespace tidemill::runs
