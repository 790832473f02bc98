#include "flow/models/store.h"

#include <fmt/format.h>

#include <utility>

#include "base/json.h"
#include "flow/models/schema.sql.h"

namespace tidemill::models::store {
namespace {

constexpr sql::Query kAddModel{
    "models.add",
    "INSERT INTO models (name, description, made_by, made_ms, updated_ms) VALUES (?1, ?2, ?3, ?4, ?4)"
    " ON CONFLICT (name) DO UPDATE SET description = ?2, made_by = ?3, made_ms = ?4, updated_ms = ?4, deleted = 0 "
    "WHERE deleted = 1"};
#define MODEL_COLUMNS                                                                                             \
  "SELECT m.name, m.description, m.made_by, m.made_ms, m.updated_ms,"                                             \
  " (SELECT ifnull(max(number), 0) FROM model_versions v WHERE v.model = m.name AND v.deleted = 0) FROM models m" \
  " WHERE m.deleted = 0"
constexpr sql::Query kFindModel{"models.find", MODEL_COLUMNS " AND m.name = ?1"};
constexpr sql::Query kAllModels{"models.all", MODEL_COLUMNS " ORDER BY m.name"};
#undef MODEL_COLUMNS
constexpr sql::Query kDescribeModel{"models.describe",
                                    "UPDATE models SET description = ?2, updated_ms = ?3 WHERE name = ?1"};
constexpr sql::Query kTouchModel{"models.touch", "UPDATE models SET updated_ms = ?2 WHERE name = ?1"};
constexpr sql::Query kRenameModel{"models.rename", "UPDATE models SET name = ?2, updated_ms = ?3 WHERE name = ?1"};
constexpr sql::Query kDeleteModel{"models.delete", "UPDATE models SET deleted = 1, updated_ms = ?2 WHERE name = ?1"};
constexpr sql::Query kDeleteVersionsOf{
    "models.delete_versions_of",
    "UPDATE model_versions SET deleted = 1, updated_ms = ?2 WHERE model = ?1 AND deleted = 0"};
constexpr sql::Query kDeleteTagsOf{"models.delete_tags_of", "DELETE FROM model_tags WHERE model = ?1"};
constexpr sql::Query kDeleteAliasesOf{"models.delete_aliases_of", "DELETE FROM model_aliases WHERE model = ?1"};
constexpr sql::Query kModelTags{"models.tags",
                                "SELECT model, key, value FROM model_tags WHERE ?1 IS NULL OR model = ?1"};
constexpr sql::Query kTagModel{"models.tag",
                               "INSERT INTO model_tags (model, key, value) VALUES (?1, ?2, ?3)"
                               " ON CONFLICT (model, key) DO UPDATE SET value = ?3"};
constexpr sql::Query kUntagModel{"models.untag", "DELETE FROM model_tags WHERE model = ?1 AND key = ?2"};

constexpr sql::Query kNextNumber{
    "models.next_number", "UPDATE models SET next_number = next_number + 1 WHERE name = ?1 RETURNING next_number - 1"};
constexpr sql::Query kSkipNumbers{"models.skip_numbers",
                                  "UPDATE models SET next_number = ?2 + 1 WHERE name = ?1 AND next_number <= ?2"};
constexpr sql::Query kNumberTaken{"models.number_taken",
                                  "SELECT count(*) FROM model_versions WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kAddVersion{"models.add_version",
                                 "INSERT INTO model_versions (model, number, state, stage, description, source, "
                                 "run_id, run_link, digest, onnx, made_by, made_ms,"
                                 " updated_ms, content, once_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, "
                                 "?11, ?12, ?12, ?13, nullif(?14, ''))"};
#define VERSION_COLUMNS                                                                                        \
  "SELECT model, number, state, stage, description, source, run_id, run_link, digest, onnx, made_by, made_ms," \
  " updated_ms, decided_by, decided_reason FROM model_versions WHERE deleted = 0"
constexpr sql::Query kFindVersion{"models.find_version", VERSION_COLUMNS " AND model = ?1 AND number = ?2"};
constexpr sql::Query kFindOnce{"models.find_once", VERSION_COLUMNS " AND once_key = ?1"};
constexpr sql::Query kVersionsOf{"models.versions_of", VERSION_COLUMNS " AND model = ?1 ORDER BY number DESC"};
constexpr sql::Query kAllVersions{"models.all_versions",
                                  VERSION_COLUMNS " ORDER BY updated_ms DESC, model, number DESC"};
#undef VERSION_COLUMNS
constexpr sql::Query kContent{"models.content",
                              "SELECT content FROM model_versions WHERE deleted = 0 AND model = ?1 AND number = ?2"};
constexpr sql::Query kCountInState{
    "models.count_in_state", "SELECT count(*) FROM model_versions WHERE model = ?1 AND state = ?2 AND deleted = 0"};
constexpr sql::Query kDescribeVersion{
    "models.describe_version",
    "UPDATE model_versions SET description = ?3, updated_ms = ?4 WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kSetStage{
    "models.set_stage", "UPDATE model_versions SET stage = ?3, updated_ms = ?4 WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kSetState{
    "models.set_state", "UPDATE model_versions SET state = ?3, updated_ms = ?4 WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kSetDecision{
    "models.set_decision",
    "UPDATE model_versions SET state = ?3, decided_by = ?4, decided_reason = ?5, updated_ms = ?6"
    " WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kDeleteVersion{
    "models.delete_version", "UPDATE model_versions SET deleted = 1, updated_ms = ?3 WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kDeleteVersionAliases{"models.delete_version_aliases",
                                           "DELETE FROM model_aliases WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kVersionTags{
    "models.version_tags",
    "SELECT model, number, key, value FROM model_version_tags WHERE (?1 IS NULL OR model = ?1)"
    " AND (?2 IS NULL OR number = ?2)"};
constexpr sql::Query kTagVersion{"models.tag_version",
                                 "INSERT INTO model_version_tags (model, number, key, value) VALUES (?1, ?2, ?3, ?4)"
                                 " ON CONFLICT (model, number, key) DO UPDATE SET value = ?4"};
constexpr sql::Query kUntagVersion{"models.untag_version",
                                   "DELETE FROM model_version_tags WHERE model = ?1 AND number = ?2 AND key = ?3"};

constexpr sql::Query kAliases{
    "models.aliases", "SELECT model, alias, number FROM model_aliases WHERE ?1 IS NULL OR model = ?1 ORDER BY alias"};
constexpr sql::Query kFindAlias{"models.find_alias",
                                "SELECT number FROM model_aliases WHERE model = ?1 AND alias = ?2"};
constexpr sql::Query kSetAlias{"models.set_alias",
                               "INSERT INTO model_aliases (model, alias, number) VALUES (?1, ?2, ?3)"
                               " ON CONFLICT (model, alias) DO UPDATE SET number = ?3"};
constexpr sql::Query kDeleteAlias{"models.delete_alias", "DELETE FROM model_aliases WHERE model = ?1 AND alias = ?2"};

constexpr sql::Query kAddReport{
    "models.add_gate_report",
    "INSERT INTO model_gate_reports (model, number, once_key, report) VALUES (?1, ?2, nullif(?3, ''), ?4)"
    " ON CONFLICT (once_key) DO NOTHING"};
constexpr sql::Query kReports{"models.gate_reports",
                              "SELECT report FROM model_gate_reports WHERE model = ?1 AND number = ?2 ORDER BY id"};
constexpr sql::Query kFindReport{"models.find_gate_report",
                                 "SELECT report FROM model_gate_reports WHERE once_key = ?1"};

constexpr sql::Query kSetBaseline{"models.set_baseline",
                                  "UPDATE model_versions SET baseline = ?3 WHERE model = ?1 AND number = ?2"};
constexpr sql::Query kBaseline{"models.baseline",
                               "SELECT baseline FROM model_versions WHERE deleted = 0 AND model = ?1 AND number = ?2"};

Model read_model(const sql::Row& row) {
  Model model;
  model.name = row.string(0);
  model.description = row.string(1);
  model.made_by = row.string(2);
  model.made_ms = row.integer(3);
  model.updated_ms = row.integer(4);
  model.newest = row.integer(5);
  return model;
}

Version read_version(const sql::Row& row) {
  Version version;
  version.model = row.string(0);
  version.number = row.integer(1);
  version.state = row.enumerator<State>(2);
  version.stage = row.enumerator<Stage>(3);
  version.description = row.string(4);
  version.source = row.string(5);
  version.run_id = row.string(6);
  version.run_link = row.string(7);
  version.digest = row.string(8);
  version.onnx = row.string(9);
  version.made_by = row.string(10);
  version.made_ms = row.integer(11);
  version.updated_ms = row.integer(12);
  version.decided_by = row.string(13);
  version.decided_reason = row.string(14);
  return version;
}

std::string read_text(const sql::Row& row) { return row.string(0); }

// Adds tags and aliases to models that are sorted by name (or to the only one).
Result<void> decorate(sql::Tx& tx, std::vector<Model>& models, std::optional<std::string_view> only) {
  std::map<std::string, Model*, std::less<>> by_name;
  for (Model& model : models) by_name.emplace(model.name, &model);
  TM_CHECK(tx.each(
      kModelTags,
      [&](const sql::Row& row) {
        const auto found = by_name.find(row.text(0));
        if (found != by_name.end()) found->second->tags.emplace(row.text(1), row.text(2));
      },
      only));
  return tx.each(
      kAliases,
      [&](const sql::Row& row) {
        const auto found = by_name.find(row.text(0));
        if (found != by_name.end()) found->second->aliases.emplace(row.text(1), row.integer(2));
      },
      only);
}

Result<void> decorate(sql::Tx& tx, std::vector<Version>& versions, std::optional<std::string_view> model,
                      std::optional<std::int64_t> number) {
  std::map<std::pair<std::string, std::int64_t>, Version*> by_key;
  for (Version& version : versions) by_key.emplace(std::pair(version.model, version.number), &version);
  TM_CHECK(tx.each(
      kVersionTags,
      [&](const sql::Row& row) {
        const auto found = by_key.find({row.string(0), row.integer(1)});
        if (found != by_key.end()) found->second->tags.emplace(row.text(2), row.text(3));
      },
      model, number));
  return tx.each(
      kAliases,
      [&](const sql::Row& row) {
        const auto found = by_key.find({row.string(0), row.integer(2)});
        if (found != by_key.end()) found->second->aliases.emplace_back(row.text(1));
      },
      model);
}

Result<std::optional<Version>> with_parts(sql::Tx& tx, std::optional<Version> found) {
  if (!found) return found;
  std::vector<Version> one{*std::move(found)};
  TM_CHECK(decorate(tx, one, one[0].model, one[0].number));
  return std::optional(std::move(one[0]));
}

Result<void> none(Result<std::int64_t> changed) {
  if (!changed) return std::unexpected(std::move(changed).error());
  return {};
}

}  // namespace

Result<void> migrate(sql::Database& database) { return database.migrate("models", kSchemaSql); }

Result<void> add_model(sql::Tx& tx, const Model& model) {
  const auto changed = TM_TRY(tx.exec(kAddModel, model.name, model.description, model.made_by, model.made_ms));
  if (changed == 0) return fail(Code::kAlreadyExists, "models.exists", "", "");
  for (const auto& [key, value] : model.tags) TM_CHECK(tx.exec(kTagModel, model.name, key, value));
  return {};
}

Result<std::optional<Model>> find_model(sql::Tx& tx, std::string_view name) {
  auto found = TM_TRY(tx.one<Model>(kFindModel, read_model, name));
  if (!found) return found;
  std::vector<Model> one{*std::move(found)};
  TM_CHECK(decorate(tx, one, name));
  return std::optional(std::move(one[0]));
}

Result<std::vector<Model>> all_models(sql::Tx& tx) {
  auto models = TM_TRY(tx.all<Model>(kAllModels, read_model));
  TM_CHECK(decorate(tx, models, std::nullopt));
  return models;
}

Result<void> describe_model(sql::Tx& tx, std::string_view name, std::string_view description, std::int64_t at_ms) {
  return none(tx.exec(kDescribeModel, name, description, at_ms));
}
Result<void> touch_model(sql::Tx& tx, std::string_view name, std::int64_t at_ms) {
  return none(tx.exec(kTouchModel, name, at_ms));
}
Result<void> rename_model(sql::Tx& tx, std::string_view name, std::string_view new_name, std::int64_t at_ms) {
  return none(tx.exec(kRenameModel, name, new_name, at_ms));
}

Result<std::int64_t> delete_model(sql::Tx& tx, std::string_view name, std::int64_t at_ms) {
  TM_CHECK(tx.exec(kDeleteAliasesOf, name));
  TM_CHECK(tx.exec(kDeleteTagsOf, name));
  TM_CHECK(tx.exec(kDeleteModel, name, at_ms));
  return tx.exec(kDeleteVersionsOf, name, at_ms);
}

Result<void> tag_model(sql::Tx& tx, std::string_view name, std::string_view key,
                       std::optional<std::string_view> value) {
  return none(value ? tx.exec(kTagModel, name, key, *value) : tx.exec(kUntagModel, name, key));
}

Result<std::int64_t> next_number(sql::Tx& tx, std::string_view model) { return tx.integer(kNextNumber, 0, model); }

Result<std::int64_t> take_number(sql::Tx& tx, std::string_view model, std::int64_t number) {
  if (TM_TRY(tx.integer(kNumberTaken, 0, model, number)) > 0) {
    return fail(Code::kAlreadyExists, "models.version_exists",
                fmt::format("Version {} of '{}' exists, or existed, already.", number, model),
                "Leave the number out to have the next one.", {{"model", std::string(model)}});
  }
  TM_CHECK(tx.exec(kSkipNumbers, model, number));
  return number;
}

Result<void> add_version(sql::Tx& tx, const Version& v, const Content& content, std::string_view once_key) {
  TM_CHECK(tx.exec(kAddVersion, v.model, v.number, v.state, v.stage, v.description, v.source, v.run_id, v.run_link,
                   v.digest, v.onnx, v.made_by, v.made_ms, json::encode(content), once_key));
  for (const auto& [key, value] : v.tags) TM_CHECK(tx.exec(kTagVersion, v.model, v.number, key, value));
  return {};
}

Result<std::optional<Version>> find_version(sql::Tx& tx, std::string_view model, std::int64_t number) {
  return with_parts(tx, TM_TRY(tx.one<Version>(kFindVersion, read_version, model, number)));
}

Result<std::optional<Version>> find_once(sql::Tx& tx, std::string_view once_key) {
  return with_parts(tx, TM_TRY(tx.one<Version>(kFindOnce, read_version, once_key)));
}

Result<std::optional<Content>> find_content(sql::Tx& tx, std::string_view model, std::int64_t number) {
  const auto text = TM_TRY(tx.one<std::string>(kContent, read_text, model, number));
  if (!text) return std::optional<Content>();
  return std::optional(TM_TRY(json::decode<Content>(*text)));
}

Result<std::vector<Version>> all_versions(sql::Tx& tx, std::string_view model) {
  const bool all = model.empty();
  auto versions =
      TM_TRY(all ? tx.all<Version>(kAllVersions, read_version) : tx.all<Version>(kVersionsOf, read_version, model));
  TM_CHECK(decorate(tx, versions, all ? std::nullopt : std::optional(model), std::nullopt));
  return versions;
}

Result<std::int64_t> count_in_state(sql::Tx& tx, std::string_view model, State state) {
  return tx.integer(kCountInState, 0, model, state);
}

Result<void> describe_version(sql::Tx& tx, const Version& v, std::string_view description, std::int64_t at_ms) {
  return none(tx.exec(kDescribeVersion, v.model, v.number, description, at_ms));
}
Result<void> tag_version(sql::Tx& tx, const Version& v, std::string_view key, std::optional<std::string_view> value) {
  return none(value ? tx.exec(kTagVersion, v.model, v.number, key, *value)
                    : tx.exec(kUntagVersion, v.model, v.number, key));
}
Result<void> set_stage(sql::Tx& tx, const Version& v, Stage stage, std::int64_t at_ms) {
  return none(tx.exec(kSetStage, v.model, v.number, stage, at_ms));
}
Result<void> set_state(sql::Tx& tx, const Version& v, State state, std::int64_t at_ms) {
  return none(tx.exec(kSetState, v.model, v.number, state, at_ms));
}
Result<void> set_decision(sql::Tx& tx, const Version& v, State state, std::string_view by, std::string_view reason,
                          std::int64_t at_ms) {
  return none(tx.exec(kSetDecision, v.model, v.number, state, by, reason, at_ms));
}
Result<void> delete_version(sql::Tx& tx, const Version& v, std::int64_t at_ms) {
  TM_CHECK(tx.exec(kDeleteVersionAliases, v.model, v.number));
  return none(tx.exec(kDeleteVersion, v.model, v.number, at_ms));
}

Result<std::optional<std::int64_t>> find_alias(sql::Tx& tx, std::string_view model, std::string_view alias) {
  return tx.one<std::int64_t>(
      kFindAlias, [](const sql::Row& row) { return row.integer(0); }, model, alias);
}
Result<void> set_alias(sql::Tx& tx, std::string_view model, std::string_view alias, std::int64_t number) {
  return none(tx.exec(kSetAlias, model, alias, number));
}
Result<void> delete_alias(sql::Tx& tx, std::string_view model, std::string_view alias) {
  return none(tx.exec(kDeleteAlias, model, alias));
}

Result<bool> add_gate_report(sql::Tx& tx, std::string_view model, std::int64_t number, const GateReport& report,
                             std::string_view once_key) {
  return TM_TRY(tx.exec(kAddReport, model, number, once_key, json::encode(report))) == 1;
}

Result<std::vector<GateReport>> gate_reports(sql::Tx& tx, std::string_view model, std::int64_t number) {
  std::vector<GateReport> reports;
  for (const std::string& text : TM_TRY(tx.all<std::string>(kReports, read_text, model, number))) {
    reports.push_back(TM_TRY(json::decode<GateReport>(text)));
  }
  return reports;
}

Result<std::optional<GateReport>> find_gate_report(sql::Tx& tx, std::string_view once_key) {
  const auto text = TM_TRY(tx.one<std::string>(kFindReport, read_text, once_key));
  if (!text) return std::optional<GateReport>();
  return std::optional(TM_TRY(json::decode<GateReport>(*text)));
}

Result<void> set_baseline(sql::Tx& tx, const Version& v, std::string_view baseline) {
  return none(tx.exec(kSetBaseline, v.model, v.number, baseline));
}

Result<std::optional<std::string>> baseline(sql::Tx& tx, std::string_view model, std::int64_t number) {
  const auto text = TM_TRY(tx.one<std::optional<std::string>>(
      kBaseline, [](const sql::Row& row) { return row.maybe_string(0); }, model, number));
  return text ? *text : std::nullopt;
}

}  // namespace tidemill::models::store
