// Models as training scripts write them, before anybody registers them.
#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/hash.h"
#include "flow/runs/checks.h"
#include "flow/runs/events.h"
#include "flow/runs/filter.h"
#include "flow/runs/metric_value.h"
#include "flow/runs/runs.h"
#include "flow/runs/sql_text.h"

namespace tidemill::runs {
namespace {

constexpr std::size_t kMadeUpDigits = 8;

constexpr std::string_view kSelect =
    "SELECT m.n, m.id, m.experiment, m.name, m.type, m.source_run, m.status, iif(e.lifecycle = 'active', m.lifecycle, "
    "'deleted'),"
    " e.artefact_root, m.made_ms, m.updated_ms FROM logged_models m JOIN experiments e ON e.id = m.experiment WHERE ";
constexpr sql::Query kGet{"logged_models.get",
                          "SELECT m.n, m.id, m.experiment, m.name, m.type, m.source_run, m.status, iif(e.lifecycle = "
                          "'active', m.lifecycle, 'deleted'),"
                          " e.artefact_root, m.made_ms, m.updated_ms FROM logged_models m JOIN experiments e ON e.id = "
                          "m.experiment WHERE m.id = ?1"};
constexpr sql::Query kAdd{"logged_models.add",
                          "INSERT INTO logged_models (id, experiment, name, type, source_run, status, lifecycle, "
                          "made_by, made_ms, updated_ms)"
                          " VALUES (?1, ?2, ?3, ?4, ?5, 'pending', 'active', ?6, ?7, ?7)"};
constexpr sql::Query kSetStatus{"logged_models.set_status",
                                "UPDATE logged_models SET status = ?2, updated_ms = ?3 WHERE n = ?1"};
constexpr sql::Query kTouch{"logged_models.touch", "UPDATE logged_models SET updated_ms = ?2 WHERE n = ?1"};
constexpr sql::Query kDelete{"logged_models.delete",
                             "UPDATE logged_models SET lifecycle = 'deleted', updated_ms = ?2 WHERE n = ?1"};
constexpr sql::Query kAddParam{
    "logged_models.add_param",
    "INSERT INTO logged_model_params (model, key, value) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING"};
constexpr sql::Query kGetParam{"logged_models.get_param",
                               "SELECT value FROM logged_model_params WHERE model = ?1 AND key = ?2"};
constexpr sql::Query kSetTag{"logged_models.set_tag",
                             "INSERT INTO logged_model_tags (model, key, value) VALUES (?1, ?2, ?3)"
                             " ON CONFLICT (model, key) DO UPDATE SET value = excluded.value"};
constexpr sql::Query kDeleteTag{"logged_models.delete_tag",
                                "DELETE FROM logged_model_tags WHERE model = ?1 AND key = ?2"};
constexpr sql::Query kParams{"logged_models.params",
                             "SELECT key, value FROM logged_model_params WHERE model = ?1 ORDER BY key"};
constexpr sql::Query kTags{"logged_models.tags",
                           "SELECT key, value FROM logged_model_tags WHERE model = ?1 ORDER BY key"};
constexpr sql::Query kMetrics{
    "logged_models.metrics",
    "SELECT key, dataset_name, dataset_digest, step, at_ms, value, run FROM (SELECT *, row_number() OVER"
    " (PARTITION BY key, dataset_name, dataset_digest, run ORDER BY step DESC, at_ms DESC, value DESC) AS rank"
    " FROM logged_model_metrics WHERE model = ?1) WHERE rank = 1 ORDER BY key, dataset_name, dataset_digest, run"};

struct Row {
  std::int64_t n = 0;
  LoggedModel model;
};

Row read_row(const sql::Row& row) {
  Row out;
  out.n = row.integer(0);
  LoggedModel& model = out.model;
  model.id = LoggedModelId::trusted(row.string(1));
  model.experiment = ExperimentId(row.integer(2));
  model.name = row.string(3);
  model.type = row.string(4);
  model.source_run = row.string(5);
  model.status = row.enumerator<LoggedModelStatus>(6);
  model.lifecycle = row.enumerator<Lifecycle>(7);
  model.artefact_root = row.string(8);
  model.made_ms = row.integer(9);
  model.updated_ms = row.integer(10);
  return out;
}

KeyValue read_pair(const sql::Row& row) { return {row.string(0), row.string(1)}; }

LoggedModelMetric read_metric(const sql::Row& row) {
  LoggedModelMetric metric;
  metric.key = row.string(0);
  metric.dataset_name = row.string(1);
  metric.dataset_digest = row.string(2);
  metric.step = row.integer(3);
  metric.at_ms = row.integer(4);
  metric.value = from_sortable(row.integer(5));
  metric.run = row.string(6);
  return metric;
}

// Deleted models are gone for everybody but searches for the deleted.
Result<Row> existing(sql::Tx& tx, const LoggedModelId& id) {
  auto found = TM_TRY(tx.one<Row>(kGet, read_row, id));
  if (found && found->model.lifecycle == Lifecycle::active) return *std::move(found);
  return fail(Code::kNotFound, "logged_models.unknown", fmt::format("Logged model with ID '{}' not found.", id.str()),
              "Search the logged models of its experiment.", {{"model", id.str()}});
}

std::string subject(const LoggedModelId& id) { return "logged_models/" + id.str(); }

using Datasets = std::vector<std::pair<std::string, std::string>>;

struct Field {
  enum class Kind { attribute, metric, param, tag } kind = Kind::attribute;
  std::string_view column;  // of attributes: constant text
  bool is_number = false;
};

Result<Field> find_field(const std::string& entity, const std::string& key) {
  if (entity == "metrics") return Field{Field::Kind::metric, "value", true};
  if (entity == "params") return Field{Field::Kind::param, "value"};
  if (entity == "tags") return Field{Field::Kind::tag, "value"};
  if (!entity.empty() && entity != "attributes") {
    return bad_filter(
        fmt::format("Invalid entity type: '{}'. Expected one of attributes, metrics, params, tags.", entity));
  }
  constexpr std::array<std::pair<std::string_view, Field>, 13> kFields{{
      {"name", {Field::Kind::attribute, "m.name"}},
      {"model_name", {Field::Kind::attribute, "m.name"}},
      {"model_id", {Field::Kind::attribute, "m.id"}},
      {"model_type", {Field::Kind::attribute, "m.type"}},
      {"status", {Field::Kind::attribute, "upper(m.status)"}},
      {"source_run_id", {Field::Kind::attribute, "m.source_run"}},
      {"experiment_id", {Field::Kind::attribute, "CAST(m.experiment AS TEXT)"}},
      {"creation_time", {Field::Kind::attribute, "m.made_ms", true}},
      {"creation_timestamp", {Field::Kind::attribute, "m.made_ms", true}},
      {"creation_timestamp_ms", {Field::Kind::attribute, "m.made_ms", true}},
      {"last_updated_timestamp", {Field::Kind::attribute, "m.updated_ms", true}},
      {"last_updated_timestamp_ms", {Field::Kind::attribute, "m.updated_ms", true}},
      {"last_updated_time", {Field::Kind::attribute, "m.updated_ms", true}},
  }};
  for (const auto& [name, field] : kFields) {
    if (key == name) return field;
  }
  return bad_filter(fmt::format("Invalid attribute key '{}' of logged models.", key));
}

void append_datasets(SqlText& sql, const Datasets& datasets) {
  if (datasets.empty()) return;
  sql << " AND (0";
  for (const auto& [name, digest] : datasets) {
    sql << " OR (dataset_name = " << sql::Value(name);
    if (!digest.empty()) sql << " AND dataset_digest = " << sql::Value(digest);
    sql << ")";
  }
  sql << ")";
}

std::string_view table_of(Field::Kind kind) {
  switch (kind) {
    case Field::Kind::metric:
      return "logged_model_metrics";
    case Field::Kind::param:
      return "logged_model_params";
    default:
      return "logged_model_tags";
  }
}

Result<void> append_condition(SqlText& sql, const Comparison& comparison, const Datasets& datasets) {
  const Field field = TM_TRY(find_field(comparison.entity, comparison.key));
  if (field.is_number) {
    TM_CHECK(check_numeric(comparison));
  } else {
    TM_CHECK(check_textual(comparison, true, false));
  }
  if (field.kind == Field::Kind::attribute) {
    field.is_number ? append_numeric(sql, field.column, comparison) : append_textual(sql, field.column, comparison);
    return {};
  }
  sql << "EXISTS (SELECT 1 FROM " << table_of(field.kind)
      << " WHERE model = m.n AND key = " << sql::Value(comparison.key) << " AND ";
  if (field.kind == Field::Kind::metric) {
    append_metric(sql, field.column, comparison);
    append_datasets(sql, datasets);
  } else {
    append_textual(sql, field.column, comparison);
  }
  sql << ")";
  return {};
}

// Appends the value that a model is ordered by, so that none sorts as NULL.
void append_key(SqlText& sql, const Field& field, const std::string& key, const Datasets& datasets) {
  if (field.kind == Field::Kind::attribute) {
    sql << field.column;
    return;
  }
  sql << "(SELECT value FROM " << table_of(field.kind) << " WHERE model = m.n AND key = " << sql::Value(key);
  if (field.kind == Field::Kind::metric) {
    append_datasets(sql, datasets);
    sql << " ORDER BY at_ms DESC, step DESC, value DESC LIMIT 1";
  }
  sql << ")";
}

Result<SqlText> search_text(const Search& search, const Datasets& datasets, const Limits& limits) {
  SqlText sql;
  sql << kSelect << "m.experiment";
  append_ids(sql, search.experiments);
  if (search.view != View::all) {
    sql << " AND iif(e.lifecycle = 'active', m.lifecycle, 'deleted') = "
        << sql::Value(std::string(enum_name(search.view)));
  }
  bool by_metric = false;
  for (const Comparison& comparison : TM_TRY(parse_filter(search.filter, limits))) {
    sql << " AND ";
    by_metric = by_metric || comparison.entity == "metrics";
    TM_CHECK(append_condition(sql, comparison, datasets));
  }
  // Without a comparison of metrics, data sets ask for the models that were measured on one of them.
  if (!datasets.empty() && !by_metric) {
    sql << " AND EXISTS (SELECT 1 FROM logged_model_metrics WHERE model = m.n";
    append_datasets(sql, datasets);
    sql << ")";
  }
  sql << " ORDER BY ";
  bool by_time = false;
  for (const std::string& text : search.order_by) {
    const Order order = TM_TRY(parse_order(text, limits));
    const Field field = TM_TRY(find_field(order.entity, order.key));
    by_time = by_time || field.column == "m.made_ms";
    append_key(sql, field, order.key, datasets);
    sql << (order.descending ? " DESC NULLS LAST, " : " ASC NULLS LAST, ");
  }
  sql << (by_time ? "" : "m.made_ms DESC, ") << "m.id LIMIT " << sql::Value(search.limit + 1) << " OFFSET "
      << sql::Value(search.offset);
  return sql;
}

}  // namespace

Result<LoggedModel> Runs::add_model(sql::Tx& tx, const access::Actor& actor, const NewLoggedModel& model) {
  const Experiment experiment = TM_TRY(this->experiment(tx, model.experiment));
  if (experiment.lifecycle != Lifecycle::active) {
    return fail(Code::kInvalidArgument, "experiments.deleted",
                fmt::format("Experiment {} is deleted.", model.experiment.str()), "Restore it first.");
  }
  const LoggedModelId id = model.id ? *model.id : LoggedModelId::generate();
  const std::string name =
      model.name.empty() ? "model-" + id.str().substr(id.str().size() - kMadeUpDigits) : model.name;
  TM_CHECK(check_length("name", name, limits_.experiment_name_chars_max));
  if (name.find_first_of("/:.%\"'") != std::string::npos) {
    return invalid(
        fmt::format(
            "Invalid model name ({}) provided. Model name must be a non-empty string and cannot contain the following "
            "characters: ('/', ':', '.', '%', '\"', \"'\").",
            name),
        "Rename it.");
  }
  if (auto added = tx.exec(kAdd, id, model.experiment.number(), name, model.type, model.source_run, actor.name,
                           model.made_ms.value_or(clock_.now_ms()));
      !added) {
    if (added.error().code != Code::kAlreadyExists) return std::unexpected(added.error());
    return fail(Code::kAlreadyExists, "logged_models.exists", fmt::format("Logged model {} exists already.", id.str()),
                "Read it, or leave the id out.", {{"model", id.str()}});
  }
  TM_CHECK(add_model_params(tx, id, model.params));
  return tag_model(tx, id, model.tags);
}

Result<LoggedModel> Runs::filled(sql::Tx& tx, std::int64_t n, LoggedModel model) {
  model.params = TM_TRY(tx.all<KeyValue>(kParams, read_pair, n));
  model.tags = TM_TRY(tx.all<KeyValue>(kTags, read_pair, n));
  model.metrics = TM_TRY(tx.all<LoggedModelMetric>(kMetrics, read_metric, n));
  for (LoggedModelMetric& metric : model.metrics) metric.model = model.id.str();
  return model;
}

Result<LoggedModel> Runs::model(sql::Tx& tx, const LoggedModelId& id) {
  Row row = TM_TRY(existing(tx, id));
  return filled(tx, row.n, std::move(row.model));
}

Result<LoggedModel> Runs::finish_model(sql::Tx& tx, const access::Actor& actor, const LoggedModelId& id,
                                       LoggedModelStatus status) {
  const Row row = TM_TRY(existing(tx, id));
  TM_CHECK(tx.exec(kSetStatus, row.n, status, clock_.now_ms()));
  json::Object payload{{"experiment", row.model.experiment.str()},
                       {"name", row.model.name},
                       {"run", row.model.source_run},
                       {"status", enum_name(status)}};
  if (row.model.artefact_root.empty()) {
    const auto files = TM_TRY(artefacts(tx, artefact_folder(row.model)));
    Sha256 hash;
    for (const Artefact& file : files) hash.update(fmt::format("{} {}\n", file.blob, file.path));
    payload["files"] = files.size();
    payload["digest"] = to_hex(hash.finish());
  }
  TM_CHECK(emit(tx, actor, events_of::kModelLogged, subject(id), std::move(payload)));
  return model(tx, id);
}

Result<void> Runs::delete_model(sql::Tx& tx, const access::Actor& actor, const LoggedModelId& id) {
  const Row row = TM_TRY(existing(tx, id));
  TM_CHECK(tx.exec(kDelete, row.n, clock_.now_ms()));
  return emit(tx, actor, events_of::kModelDeleted, subject(id),
              {{"experiment", row.model.experiment.str()}, {"name", row.model.name}});
}

Result<void> Runs::add_model_params(sql::Tx& tx, const LoggedModelId& id, const std::vector<KeyValue>& params) {
  const Row row = TM_TRY(existing(tx, id));
  for (const auto& [key, value] : params) {
    TM_CHECK(check_key("params.key", key, limits_));
    TM_CHECK(check_length("params.value", value, limits_.param_chars_max));
    if (TM_TRY(tx.exec(kAddParam, row.n, key, value)) == 1) continue;
    const auto before = TM_TRY(tx.one<std::string>(
        kGetParam, [](const sql::Row& r) { return r.string(0); }, row.n, key));
    if (before == value) continue;
    return fail(Code::kInvalidArgument, "logged_models.param_changed",
                fmt::format("Parameter '{}' of logged model {} is '{}' already, not '{}'.", key, id.str(),
                            before.value_or(""), value),
                "Log a new model.");
  }
  return {};
}

Result<LoggedModel> Runs::tag_model(sql::Tx& tx, const LoggedModelId& id, const std::vector<KeyValue>& tags) {
  const Row row = TM_TRY(existing(tx, id));
  for (const auto& [key, value] : tags) {
    TM_CHECK(check_key("tags.key", key, limits_));
    TM_CHECK(check_length("tags.value", value, limits_.tag_chars_max));
    TM_CHECK(tx.exec(kSetTag, row.n, key, value));
  }
  if (!tags.empty()) TM_CHECK(tx.exec(kTouch, row.n, clock_.now_ms()));
  return model(tx, id);
}

Result<void> Runs::untag_model(sql::Tx& tx, const LoggedModelId& id, std::string_view key) {
  const Row row = TM_TRY(existing(tx, id));
  if (TM_TRY(tx.exec(kDeleteTag, row.n, key)) > 0) return {};
  return fail(Code::kNotFound, "logged_models.no_tag",
              fmt::format("No tag with key '{}' found for logged model {}.", key, id.str()), "Read its tags.");
}

Result<Page<LoggedModel>> Runs::search_models(sql::Tx& tx, const Search& search, const Datasets& datasets) {
  Page<LoggedModel> page;
  if (search.experiments.empty()) return page;
  const SqlText sql = TM_TRY(search_text(search, datasets, limits_));
  auto rows = TM_TRY(tx.all<Row>(sql.query("logged_models.search"), read_row, sql.values()));
  if (static_cast<std::int64_t>(rows.size()) > search.limit) {
    rows.pop_back();
    page.next = search.offset + search.limit;
  }
  for (Row& row : rows) page.items.push_back(TM_TRY(filled(tx, row.n, std::move(row.model))));
  return page;
}

}  // namespace tidemill::runs
