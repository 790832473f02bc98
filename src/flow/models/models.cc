// Registered models and aliases.
#include "flow/models/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/json.h"
#include "flow/models/checks.h"
#include "flow/models/events.h"
#include "flow/models/store.h"

namespace tidemill::models {
namespace {

json::Value or_null(std::optional<std::string_view> text) { return text ? json::Value(*text) : json::Value(nullptr); }

json::Value or_null(std::optional<std::int64_t> number) { return number ? json::Value(*number) : json::Value(nullptr); }

Result<Model> existing(sql::Tx& tx, std::string_view name) {
  auto found = TM_TRY(store::find_model(tx, name));
  if (!found) return unknown_model(name);
  return *std::move(found);
}

template <class T>
std::vector<T> kept(std::vector<T> items, const std::function<bool(const T&)>& keep) {
  if (keep) std::erase_if(items, [&](const T& item) { return !keep(item); });
  return items;
}

}  // namespace

Result<std::unique_ptr<Models>> Models::create(Parts parts) {
  TM_CHECK(store::migrate(parts.database));
  TM_CHECK(make_folder(parts.cache_folder));
  return std::unique_ptr<Models>(new Models(std::move(parts)));
}

Result<void> Models::emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                          json::Object payload) {
  TM_CHECK(parts_.events.append(tx, {std::string(kind), std::move(subject), actor.name, std::move(payload)}));
  return {};
}

Result<Model> Models::add_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                std::string_view description, const Tags& tags, std::optional<std::int64_t> made_ms) {
  TM_CHECK(check_model_name(name));
  TM_CHECK(check_description(description));
  TM_CHECK(check_tags(tags));
  Model model;
  model.name = name;
  model.description = description;
  model.tags = tags;
  model.made_by = actor.name;
  model.made_ms = made_ms.value_or(parts_.clock.now_ms());
  if (auto added = store::add_model(tx, model); !added) {
    if (added.error().code != Code::kAlreadyExists) return std::unexpected(added.error());
    return fail(Code::kAlreadyExists, "models.exists", fmt::format("Model '{}' exists already.", name),
                "Add a version to it, or choose another name.", {{"model", std::string(name)}});
  }
  TM_CHECK(emit(tx, actor, events_of::kCreated, subject_of(name),
                {{"description", description}, {"tags", json::to_json(tags)}}));
  return existing(tx, name);
}

Result<Model> Models::model(sql::Tx& tx, std::string_view name) { return existing(tx, name); }

Result<std::vector<Model>> Models::list_models(sql::Tx& tx, const std::function<bool(const Model&)>& keep) {
  return kept(TM_TRY(store::all_models(tx)), keep);
}

Result<Model> Models::describe_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                     std::string_view description) {
  TM_CHECK(check_description(description));
  TM_CHECK(existing(tx, name));
  TM_CHECK(store::describe_model(tx, name, description, parts_.clock.now_ms()));
  TM_CHECK(emit(tx, actor, events_of::kDescribed, subject_of(name), {{"description", description}}));
  return existing(tx, name);
}

Result<Model> Models::rename_model(sql::Tx& tx, const access::Actor& actor, std::string_view name,
                                   std::string_view new_name) {
  TM_CHECK(check_model_name(new_name));
  TM_CHECK(existing(tx, name));
  if (name == new_name) return existing(tx, name);
  if (auto renamed = store::rename_model(tx, name, new_name, parts_.clock.now_ms()); !renamed) {
    if (renamed.error().code != Code::kAlreadyExists) return std::unexpected(renamed.error());
    return fail(Code::kAlreadyExists, "models.exists",
                fmt::format("A model '{}' exists, or existed, already.", new_name), "Choose another name.",
                {{"model", std::string(new_name)}});
  }
  TM_CHECK(emit(tx, actor, events_of::kRenamed, subject_of(new_name), {{"from", name}}));
  return existing(tx, new_name);
}

Result<void> Models::delete_model(sql::Tx& tx, const access::Actor& actor, std::string_view name) {
  TM_CHECK(existing(tx, name));
  if (const auto approved = TM_TRY(store::count_in_state(tx, name, State::approved)); approved > 0) {
    return fail(Code::kFailedPrecondition, "models.in_use",
                fmt::format("Model '{}' has {} approved versions.", name, approved), "Archive them first.");
  }
  const auto versions = TM_TRY(store::delete_model(tx, name, parts_.clock.now_ms()));
  return emit(tx, actor, events_of::kDeleted, subject_of(name), {{"versions", versions}});
}

Result<void> Models::tag_model(sql::Tx& tx, const access::Actor& actor, std::string_view name, std::string_view key,
                               std::optional<std::string_view> value) {
  TM_CHECK(check_tag(key, value));
  const Model before = TM_TRY(existing(tx, name));
  if (!value && !before.tags.contains(std::string(key))) return {};
  TM_CHECK(store::tag_model(tx, name, key, value));
  TM_CHECK(store::touch_model(tx, name, parts_.clock.now_ms()));
  return emit(tx, actor, events_of::kTagged, subject_of(name), {{"key", key}, {"value", or_null(value)}});
}

Result<Version> Models::version(sql::Tx& tx, std::string_view model, std::int64_t number) {
  auto found = TM_TRY(store::find_version(tx, model, number));
  if (found) return *std::move(found);
  TM_CHECK(existing(tx, model));  // the model's absence is the more helpful message
  return unknown_version(model, number);
}

Result<Version> Models::version(std::string_view model, std::int64_t number) {
  return parts_.database.read([&](sql::Tx& tx) { return version(tx, model, number); });
}

Result<std::vector<Version>> Models::list_versions(sql::Tx& tx, std::string_view model,
                                                   const std::function<bool(const Version&)>& keep) {
  if (!model.empty()) TM_CHECK(existing(tx, model));
  return kept(TM_TRY(store::all_versions(tx, model)), keep);
}

Result<std::int64_t> Models::resolve(sql::Tx& tx, std::string_view model, std::string_view alias) {
  if (const auto number = TM_TRY(store::find_alias(tx, model, alias))) return *number;
  TM_CHECK(existing(tx, model));
  return fail(Code::kNotFound, "models.unknown_alias",
              fmt::format("Model '{}' has no alias '{}'.", model.substr(0, 128), alias.substr(0, 128)),
              "GET /api/models/{model} shows its aliases.");
}

Result<std::int64_t> Models::resolve(std::string_view model, std::string_view alias) {
  return parts_.database.read([&](sql::Tx& tx) { return resolve(tx, model, alias); });
}

Result<void> Models::set_alias(sql::Tx& tx, const access::Actor& actor, std::string_view model, std::string_view alias,
                               std::int64_t number) {
  TM_CHECK(check_alias(alias));
  const Version target = TM_TRY(version(tx, model, number));
  if (alias == kChampion && target.state != State::approved) {
    return fail(Code::kFailedPrecondition, "models.not_approved",
                fmt::format("Version {} of '{}' is {}; only an approved version can be champion.", number, model,
                            enum_name(target.state)),
                "Have it approved first.");
  }
  const auto before = TM_TRY(store::find_alias(tx, model, alias));
  if (before == number) return {};
  TM_CHECK(store::set_alias(tx, model, alias, number));
  return emit(tx, actor, events_of::kAliasSet, subject_of(model, number),
              {{"alias", alias}, {"number", number}, {"before", or_null(before)}});
}

Result<void> Models::delete_alias(sql::Tx& tx, const access::Actor& actor, std::string_view model,
                                  std::string_view alias) {
  TM_CHECK(existing(tx, model));
  const auto before = TM_TRY(store::find_alias(tx, model, alias));
  if (!before) return {};
  TM_CHECK(store::delete_alias(tx, model, alias));
  return emit(tx, actor, events_of::kAliasDeleted, subject_of(model, *before), {{"alias", alias}, {"before", *before}});
}

}  // namespace tidemill::models
