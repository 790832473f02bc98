// MLflow's model registry over the room of models: registered models, their tags and aliases.
#include <fmt/format.h>

#include <algorithm>

#include "api/mlflow/registry.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kSearchedByDefault = 100;
constexpr std::int64_t kSearchedMax = 1'000;

// Returns the newest version of each stage that has one, or of the stages asked for.
std::vector<models::Version> latest(std::vector<models::Version> newest_first, const std::vector<std::string>& stages) {
  std::vector<models::Version> out;
  for (models::Version& version : newest_first) {
    const std::string_view stage = enum_name(version.stage);
    const bool wanted = stages.empty() || std::ranges::find(stages, stage) != stages.end();
    const bool known =
        std::ranges::any_of(out, [&](const models::Version& other) { return other.stage == version.stage; });
    if (wanted && !known) out.push_back(std::move(version));
  }
  return out;
}

Result<void> write(JsonText& json, models::Models& models, sql::Tx& tx, const models::Model& model) {
  json.begin_object();
  json.text("name", model.name)
      .integer("creation_timestamp", model.made_ms)
      .integer("last_updated_timestamp", model.updated_ms);
  json.text_if("user_id", model.made_by).text_if("description", model.description);
  json.key("latest_versions").begin_array();
  for (const auto& version : latest(TM_TRY(models.list_versions(tx, model.name)), {})) write(json, version);
  json.end_array().key("tags").begin_array();
  for (const auto& [key, value] : model.tags) json.begin_object().text("key", key).text("value", value).end_object();
  json.end_array().key("aliases").begin_array();
  for (const auto& [alias, number] : model.aliases) {
    json.begin_object().text("alias", alias).text("version", std::to_string(number)).end_object();
  }
  json.end_array().end_object();
  return {};
}

Result<std::string> wrapped_model(models::Models& models, sql::Tx& tx, const models::Model& model) {
  JsonText json;
  json.begin_object().key("registered_model");
  TM_CHECK(write(json, models, tx, model));
  json.end_object();
  return json.take();
}

bool fits(const runs::Comparison& comparison, const models::Model& model) {
  const bool by_tag = comparison.entity == "tag" || comparison.entity == "tags";
  return by_tag ? fits_tags(comparison, model.tags) : runs::holds(comparison, model.name);
}

Result<void> check(const runs::Comparison& comparison) {
  if (comparison.entity == "tag" || comparison.entity == "tags") return runs::check_textual(comparison, false, true);
  if (!is_attribute(comparison.entity) || comparison.key != "name") {
    return runs::bad_filter(fmt::format("Registered models have name and tags, not '{}'.", comparison.key));
  }
  return runs::check_textual(comparison, false, false);
}

Result<void> sort(std::vector<models::Model>& found, const std::vector<std::string>& terms,
                  const runs::Limits& limits) {
  std::vector<runs::Order> orders;
  for (const std::string& term : terms) {
    orders.push_back(TM_TRY(runs::parse_order(term, limits)));
    const std::string& key = orders.back().key;
    if (key != "name" && key != "timestamp" && key != "last_updated_timestamp") {
      return runs::bad_filter(fmt::format("Invalid order by key '{}': use name or timestamp.", key));
    }
  }
  std::ranges::stable_sort(found, {}, &models::Model::name);
  for (auto order = orders.rbegin(); order != orders.rend(); ++order) {  // the first term last, so that it rules
    std::ranges::stable_sort(found, [&](const models::Model& a, const models::Model& b) {
      const bool less = order->key == "name"
                            ? (order->descending ? b.name < a.name : a.name < b.name)
                            : (order->descending ? b.updated_ms < a.updated_ms : a.updated_ms < b.updated_ms);
      return less;
    });
  }
  return {};
}

Result<std::string> search(models::Models& models, const Call& call) {
  const runs::Limits limits;
  const auto filter = TM_TRY(runs::parse_filter(TM_TRY(call.fields.text("filter")), limits));
  bool prompts = false;
  for (const auto& comparison : filter) {
    TM_CHECK(check(comparison));
    prompts = prompts || comparison.key == kPromptTag;
  }
  const auto order_by = TM_TRY(call.fields.texts("order_by"));
  const std::int64_t limit = TM_TRY(max_results(call.fields, kSearchedByDefault, kSearchedMax));
  const std::int64_t offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  return models.parts().database.read([&](sql::Tx& tx) -> Result<std::string> {
    auto found = TM_TRY(models.list_models(tx, [&](const models::Model& model) {
      if (!prompts && is_prompt(model.tags)) return false;
      return std::ranges::all_of(filter, [&](const auto& comparison) { return fits(comparison, model); });
    }));
    TM_CHECK(sort(found, order_by, limits));
    JsonText json;
    json.begin_object().key("registered_models").begin_array();
    const auto count = static_cast<std::int64_t>(found.size());
    for (std::int64_t i = offset; i < std::min(offset + limit, count); ++i) {
      TM_CHECK(write(json, models, tx, found[static_cast<std::size_t>(i)]));
    }
    json.end_array();
    if (offset + limit < count) json.text("next_page_token", page_token(offset + limit));
    json.end_object();
    return json.take();
  });
}

// Adds an endpoint that changes the model of its field name. `answers`: whether it answers the model as it is then.
template <class F>
void add_change(Endpoints& endpoints, models::Models& models, Method method, std::string_view path,
                std::string_view summary, bool answers, F change) {
  endpoints.add(method, path, Right::write, summary,
                [&models, answers, change](const Call& call) -> Result<std::string> {
                  std::string name = TM_TRY(call.fields.required("name"));
                  return models.parts().database.write([&](sql::Tx& tx) -> Result<std::string> {
                    TM_CHECK(change(models, tx, call, name));
                    if (!answers) return std::string(kNothing);
                    return wrapped_model(models, tx, TM_TRY(models.model(tx, name)));
                  });
                });
}

void add_changes(Endpoints& endpoints, models::Models& all_models) {
  using Models = models::Models;
  add_change(endpoints, all_models, Method::post, "/mlflow/registered-models/create", "Register a model", true,
             [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               TM_CHECK(models.add_model(tx, call.actor, name, TM_TRY(call.fields.text("description")),
                                         TM_TRY(tags_of(call.fields))));
               return {};
             });
  add_change(endpoints, all_models, Method::post, "/mlflow/registered-models/rename", "Rename a model", true,
             [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               const std::string to = TM_TRY(call.fields.required("new_name"));
               TM_CHECK(models.rename_model(tx, call.actor, name, to));
               name = to;
               return {};
             });
  add_change(endpoints, all_models, Method::patch, "/mlflow/registered-models/update", "Describe a model", true,
             [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               TM_CHECK(models.describe_model(tx, call.actor, name, TM_TRY(call.fields.text("description"))));
               return {};
             });
  add_change(endpoints, all_models, Method::del, "/mlflow/registered-models/delete", "Delete a model with its versions",
             false, [](Models& models, sql::Tx& tx, const Call& call, std::string& name) {
               return models.delete_model(tx, call.actor, name);
             });
  add_change(endpoints, all_models, Method::post, "/mlflow/registered-models/set-tag", "Set a tag of a model", false,
             [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               return models.tag_model(tx, call.actor, name, TM_TRY(call.fields.required("key")),
                                       TM_TRY(call.fields.text("value")));
             });
  add_change(endpoints, all_models, Method::del, "/mlflow/registered-models/delete-tag", "Delete a tag of a model",
             false, [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               return models.tag_model(tx, call.actor, name, TM_TRY(call.fields.required("key")), std::nullopt);
             });
  add_change(endpoints, all_models, Method::post, "/mlflow/registered-models/alias", "Point an alias at a version",
             false, [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               return models.set_alias(tx, call.actor, name, TM_TRY(call.fields.required("alias")),
                                       TM_TRY(version_of(call.fields)));
             });
  add_change(endpoints, all_models, Method::del, "/mlflow/registered-models/alias", "Delete an alias", false,
             [](Models& models, sql::Tx& tx, const Call& call, std::string& name) -> Result<void> {
               return models.delete_alias(tx, call.actor, name, TM_TRY(call.fields.required("alias")));
             });
}

}  // namespace

bool is_prompt(const models::Tags& tags) {
  const auto tag = tags.find(std::string(kPromptTag));
  return tag != tags.end() && (tag->second == "true" || tag->second == "True");
}

bool fits_tags(const runs::Comparison& comparison, const models::Tags& tags) {
  if (comparison.key == kPromptTag && comparison.op < runs::Operator::in)
    return runs::holds(comparison, is_prompt(tags) ? "true" : "false");
  const auto tag = tags.find(comparison.key);
  if (comparison.op == runs::Operator::is_null) return tag == tags.end();
  if (tag == tags.end()) return false;
  return comparison.op == runs::Operator::is_not_null || runs::holds(comparison, tag->second);
}

bool is_attribute(std::string_view entity) {
  return entity.empty() || entity == "attribute" || entity == "attributes" || entity == "attr";
}

Result<models::Tags> tags_of(const Fields& fields) {
  models::Tags tags;
  for (auto& [key, value] : TM_TRY(pairs(fields, "tags"))) tags[key] = value;
  return tags;
}

Result<std::int64_t> version_of(const Fields& fields) {
  const auto number = fields.maybe_integer("version");
  if (number && *number) return **number;
  if (number) return missing_value("version");
  return fail(Code::kInvalidArgument, "mlflow.bad_version",
              fmt::format("Parameter 'version' must be an integer, got '{}'.",
                          fields.text("version").value_or("something else").substr(0, 64)),
              "Give the number of a version.");
}

void write(JsonText& json, const models::Version& version) {
  json.begin_object();
  json.text("name", version.model).text("version", std::to_string(version.number));
  json.integer("creation_timestamp", version.made_ms).integer("last_updated_timestamp", version.updated_ms);
  json.text_if("user_id", version.made_by)
      .text("current_stage", enum_name(version.stage))
      .text("description", version.description);
  json.text("source", version.source)
      .text("run_id", version.run_id)
      .text("status", "READY")
      .text("run_link", version.run_link);
  const auto model = version.tags.find(std::string(kModelIdTag));
  if (model != version.tags.end()) json.text("model_id", model->second);
  json.key("tags").begin_array();
  for (const auto& [key, value] : version.tags) {
    if (key != kModelIdTag) json.begin_object().text("key", key).text("value", value).end_object();
  }
  json.end_array().key("aliases").begin_array();
  for (const std::string& alias : version.aliases) json.text(alias);
  json.end_array().end_object();
}

void add_registered_models(Endpoints& endpoints, models::Models& models) {
  add_changes(endpoints, models);
  endpoints.add(Method::get, "/mlflow/registered-models/search", Right::read, "Search registered models",
                [&models](const Call& call) { return search(models, call); });
  endpoints.add(Method::get, "/mlflow/registered-models/get", Right::read, "Get a registered model",
                [&models](const Call& call) -> Result<std::string> {
                  const std::string name = TM_TRY(call.fields.required("name"));
                  return models.parts().database.read([&](sql::Tx& tx) -> Result<std::string> {
                    return wrapped_model(models, tx, TM_TRY(models.model(tx, name)));
                  });
                });
  endpoints.add(Method::get, "/mlflow/registered-models/alias", Right::read, "Get the version that an alias points at",
                [&models](const Call& call) -> Result<std::string> {
                  const std::string name = TM_TRY(call.fields.required("name"));
                  const std::string alias = TM_TRY(call.fields.required("alias"));
                  return models.parts().database.read([&](sql::Tx& tx) -> Result<std::string> {
                    return wrapped_version(TM_TRY(models.version(tx, name, TM_TRY(models.resolve(tx, name, alias)))));
                  });
                });
  for (const Method method : {Method::get, Method::post}) {
    endpoints.add(method, "/mlflow/registered-models/get-latest-versions", Right::read,
                  "Get the newest version of each stage", [&models](const Call& call) -> Result<std::string> {
                    const std::string name = TM_TRY(call.fields.required("name"));
                    const auto stages = TM_TRY(call.fields.texts("stages"));
                    return models.parts().database.read([&](sql::Tx& tx) -> Result<std::string> {
                      TM_CHECK(models.model(tx, name));
                      runs::Page<models::Version> page{latest(TM_TRY(models.list_versions(tx, name)), stages), {}};
                      return wrapped("model_versions", page);
                    });
                  });
  }
}

}  // namespace tidemill::mlflow
