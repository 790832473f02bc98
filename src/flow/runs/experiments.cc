// Experiments.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "flow/runs/checks.h"
#include "flow/runs/events.h"
#include "flow/runs/filter.h"
#include "flow/runs/runs.h"
#include "flow/runs/schema.sql.h"
#include "flow/runs/sql_text.h"

namespace tidemill::runs {
namespace {

constexpr std::string_view kColumns = "id, name, artefact_root, lifecycle, made_by, made_ms, updated_ms";

constexpr sql::Query kAddDefault{
    "experiments.add_default",
    "INSERT INTO experiments (id, name, artefact_root, lifecycle, made_by, made_ms, updated_ms)"
    " VALUES (0, 'Default', '', 'active', 'system', ?1, ?1) ON CONFLICT DO NOTHING"};
constexpr sql::Query kAdd{"experiments.add",
                          "INSERT INTO experiments (name, artefact_root, lifecycle, made_by, made_ms, updated_ms)"
                          " VALUES (?1, ?2, 'active', ?3, ?4, ?4)"};
constexpr sql::Query kAddWithId{
    "experiments.add_with_id",
    "INSERT INTO experiments (id, name, artefact_root, lifecycle, made_by, made_ms, updated_ms)"
    " VALUES (?1, ?2, ?3, 'active', ?4, ?5, ?5)"};
constexpr sql::Query kGet{
    "experiments.get",
    "SELECT id, name, artefact_root, lifecycle, made_by, made_ms, updated_ms FROM experiments WHERE id = ?1"};
constexpr sql::Query kGetByName{"experiments.get_by_name", "SELECT id FROM experiments WHERE name = ?1"};
constexpr sql::Query kGetTags{"experiments.get_tags", "SELECT key, value FROM experiment_tags WHERE experiment = ?1"};
constexpr sql::Query kSetTag{"experiments.set_tag",
                             "INSERT INTO experiment_tags (experiment, key, value) VALUES (?1, ?2, ?3)"
                             " ON CONFLICT (experiment, key) DO UPDATE SET value = excluded.value"};
constexpr sql::Query kDeleteTag{"experiments.delete_tag",
                                "DELETE FROM experiment_tags WHERE experiment = ?1 AND key = ?2"};
constexpr sql::Query kTouch{"experiments.touch", "UPDATE experiments SET updated_ms = ?2 WHERE id = ?1"};
constexpr sql::Query kRename{"experiments.rename", "UPDATE experiments SET name = ?2, updated_ms = ?3 WHERE id = ?1"};
constexpr sql::Query kSetLifecycle{
    "experiments.set_lifecycle",
    "UPDATE experiments SET lifecycle = ?2, updated_ms = ?3 WHERE id = ?1 AND lifecycle <> ?2"};

Experiment read_experiment(const sql::Row& row) {
  Experiment out;
  out.id = ExperimentId(row.integer(0));
  out.name = row.string(1);
  out.artefact_root = row.string(2);
  out.lifecycle = row.enumerator<Lifecycle>(3);
  out.made_by = row.string(4);
  out.made_ms = row.integer(5);
  out.updated_ms = row.integer(6);
  return out;
}

Result<void> read_tags(sql::Tx& tx, Experiment& experiment) {
  return tx.each(
      kGetTags, [&](const sql::Row& row) { experiment.tags.emplace(row.string(0), row.string(1)); },
      experiment.id.number());
}

std::unexpected<Error> name_taken(std::string_view name) {
  return fail(Code::kAlreadyExists, "experiments.exists", fmt::format("Experiment '{}' already exists.", name),
              "Choose another name, or restore the experiment if it was deleted.", {{"experiment", std::string(name)}});
}

std::string subject(ExperimentId id) { return "experiments/" + id.str(); }

// A field of the search: a tag, or a column.
struct Field {
  bool is_tag = false;
  bool is_number = false;
  std::string_view column;  // constant text
};

Result<Field> find_field(std::string_view entity, std::string_view key) {
  if (entity == "tag" || entity == "tags") return Field{true, false, "value"};
  if (!entity.empty() && entity != "attribute" && entity != "attributes" && entity != "attr") {
    return bad_filter(fmt::format("Experiments have no '{}': use attributes or tags.", entity));
  }
  constexpr std::array<std::pair<std::string_view, Field>, 4> kFields{
      {{"name", {false, false, "e.name"}},
       {"experiment_id", {false, false, "CAST(e.id AS TEXT)"}},
       {"creation_time", {false, true, "e.made_ms"}},
       {"last_update_time", {false, true, "e.updated_ms"}}}};
  for (const auto& [name, field] : kFields) {
    if (key == name) return field;
  }
  return bad_filter(fmt::format(
      "Invalid attribute key '{}'. Experiments have name, experiment_id, creation_time and last_update_time.", key));
}

Result<void> append_condition(SqlText& sql, const Comparison& comparison) {
  const Field field = TM_TRY(find_field(comparison.entity, comparison.key));
  if (field.is_number) {
    TM_CHECK(check_numeric(comparison));
    if (!comparison.number().whole)
      return bad_filter(fmt::format("Invalid value for numeric attribute '{}'.", comparison.key));
    append_numeric(sql, field.column, comparison);
    return {};
  }
  TM_CHECK(check_textual(comparison, comparison.key == "experiment_id", field.is_tag));
  if (!field.is_tag) {
    append_textual(sql, field.column, comparison);
    return {};
  }
  if (comparison.op == Operator::is_null) sql << "NOT ";
  sql << "EXISTS (SELECT 1 FROM experiment_tags WHERE experiment = e.id AND key = " << sql::Value(comparison.key);
  if (comparison.op != Operator::is_null && comparison.op != Operator::is_not_null) {
    sql << " AND ";
    append_textual(sql, field.column, comparison);
  }
  sql << ")";
  return {};
}

Result<SqlText> search_text(const Search& search, const Limits& limits) {
  SqlText sql;
  sql << "SELECT " << kColumns << " FROM experiments e WHERE ";
  if (search.view == View::all) {
    sql << "1";
  } else {
    sql << "lifecycle = " << sql::Value(std::string(enum_name(search.view)));
  }
  for (const Comparison& comparison : TM_TRY(parse_filter(search.filter, limits))) {
    sql << " AND ";
    TM_CHECK(append_condition(sql, comparison));
  }
  sql << " ORDER BY ";
  bool by_id = false;
  for (const std::string& term : search.order_by) {
    const Order order = TM_TRY(parse_order(term, limits));
    const Field field = TM_TRY(find_field(order.entity, order.key));
    if (field.is_tag) return bad_filter("Experiments cannot be ordered by tags.");
    by_id = by_id || order.key == "experiment_id";
    sql << (order.key == "experiment_id" ? "e.id" : field.column) << (order.descending ? " DESC, " : ", ");
  }
  if (search.order_by.empty()) sql << "made_ms DESC, ";
  sql << (by_id                     ? "1"
          : search.order_by.empty() ? "e.id DESC"
                                    : "e.id")
      << " LIMIT " << sql::Value(search.limit + 1) << " OFFSET " << sql::Value(search.offset);
  return sql;
}

}  // namespace

Result<std::unique_ptr<Runs>> Runs::create(sql::Database& database, events::Events& events, blobs::Store& blobs,
                                           const Clock& clock, Limits limits) {
  TM_CHECK(database.migrate("runs", kSchemaSql));
  TM_CHECK(database.write([&](sql::Tx& tx) { return tx.exec(kAddDefault, clock.now_ms()); }));
  return std::unique_ptr<Runs>(new Runs(database, events, blobs, clock, limits));
}

Result<Experiment> Runs::add_experiment(sql::Tx& tx, const access::Actor& actor, const NewExperiment& experiment) {
  TM_CHECK(check_experiment_name(experiment.name, limits_));
  const std::int64_t made_ms = experiment.made_ms.value_or(clock_.now_ms());
  auto added = experiment.id ? tx.exec(kAddWithId, experiment.id->number(), experiment.name, experiment.artefact_root,
                                       actor.name, made_ms)
                             : tx.exec(kAdd, experiment.name, experiment.artefact_root, actor.name, made_ms);
  if (!added) {
    if (added.error().code != Code::kAlreadyExists) return std::unexpected(added.error());
    return name_taken(experiment.name);
  }
  const ExperimentId id = experiment.id ? *experiment.id : ExperimentId(tx.last_row_id());
  for (const KeyValue& tag : experiment.tags) TM_CHECK(tag_experiment(tx, id, tag.key, tag.value));
  TM_CHECK(emit(tx, actor, events_of::kExperimentCreated, subject(id),
                {{"name", experiment.name}, {"artefact_root", experiment.artefact_root}}));
  return this->experiment(tx, id);
}

Result<Experiment> Runs::experiment(sql::Tx& tx, ExperimentId id) {
  auto found = TM_TRY(tx.one<Experiment>(kGet, read_experiment, id.number()));
  if (!found) return unknown_experiment(id.str());
  TM_CHECK(read_tags(tx, *found));
  return *std::move(found);
}

Result<Experiment> Runs::experiment(sql::Tx& tx, std::string_view name) {
  const std::int64_t id = TM_TRY(tx.integer(kGetByName, -1, name));
  if (id < 0) return unknown_experiment(name);
  return experiment(tx, ExperimentId(id));
}

Result<Page<Experiment>> Runs::search_experiments(sql::Tx& tx, const Search& search) {
  const SqlText sql = TM_TRY(search_text(search, limits_));
  Page<Experiment> page;
  page.items = TM_TRY(tx.all<Experiment>(sql.query("experiments.search"), read_experiment, sql.values()));
  if (static_cast<std::int64_t>(page.items.size()) > search.limit) {
    page.items.pop_back();
    page.next = search.offset + search.limit;
  }
  for (Experiment& experiment : page.items) TM_CHECK(read_tags(tx, experiment));
  return page;
}

Result<void> Runs::rename_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id, std::string_view name) {
  TM_CHECK(check_experiment_name(name, limits_));
  const Experiment before = TM_TRY(experiment(tx, id));
  if (before.lifecycle != Lifecycle::active) {
    return fail(Code::kInvalidArgument, "experiments.deleted", "Cannot rename a non-active experiment.",
                "Restore it first.");
  }
  if (auto renamed = tx.exec(kRename, id.number(), name, clock_.now_ms()); !renamed) {
    if (renamed.error().code != Code::kAlreadyExists) return std::unexpected(renamed.error());
    return name_taken(name);
  }
  return emit(tx, actor, events_of::kExperimentRenamed, subject(id), {{"name", name}, {"before", before.name}});
}

Result<void> Runs::delete_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id) {
  if (id.number() == 0) return invalid("Cannot delete the default experiment '0'.", "Delete its runs instead.");
  const Experiment before = TM_TRY(experiment(tx, id));
  if (TM_TRY(tx.exec(kSetLifecycle, id.number(), Lifecycle::deleted, clock_.now_ms())) == 0)
    return unknown_experiment(id.str());
  return emit(tx, actor, events_of::kExperimentDeleted, subject(id), {{"name", before.name}});
}

Result<void> Runs::restore_experiment(sql::Tx& tx, const access::Actor& actor, ExperimentId id) {
  const Experiment before = TM_TRY(experiment(tx, id));
  if (TM_TRY(tx.exec(kSetLifecycle, id.number(), Lifecycle::active, clock_.now_ms())) == 0)
    return unknown_experiment(id.str());
  return emit(tx, actor, events_of::kExperimentRestored, subject(id), {{"name", before.name}});
}

Result<void> Runs::tag_experiment(sql::Tx& tx, ExperimentId id, std::string_view key,
                                  std::optional<std::string_view> value) {
  TM_CHECK(check_key("key", key, limits_));
  const Experiment before = TM_TRY(experiment(tx, id));
  if (before.lifecycle != Lifecycle::active) {
    return fail(Code::kInvalidArgument, "experiments.deleted",
                fmt::format("The experiment {} must be in the 'active' state: it is deleted.", id.str()),
                "Restore it first.");
  }
  TM_CHECK(tx.exec(kTouch, id.number(), clock_.now_ms()));
  if (value) {
    TM_CHECK(check_length("value", *value, limits_.experiment_tag_chars_max));
    TM_CHECK(tx.exec(kSetTag, id.number(), key, *value));
    return {};
  }
  if (TM_TRY(tx.exec(kDeleteTag, id.number(), key)) > 0) return {};
  return fail(Code::kNotFound, "experiments.no_tag", fmt::format("Experiment {} has no tag '{}'.", id.str(), key),
              "Read its tags.");
}

Result<void> Runs::emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                        json::Object payload) {
  TM_CHECK(events_.append(tx, {std::string(kind), std::move(subject), actor.name, std::move(payload)}));
  return {};
}

}  // namespace tidemill::runs
