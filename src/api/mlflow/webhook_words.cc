// Our events in the words of MLflow's webhooks: entity, action, and the payload of mlflow.webhooks.types.
#include <fmt/format.h>

#include <array>

#include "api/mlflow/mlflow.h"
#include "api/mlflow/registry.h"
#include "base/clock.h"
#include "events/types.h"
#include "flow/models/events.h"

namespace tidemill::mlflow {
namespace {

constexpr std::string_view kPromptTypeTag = "_mlflow_prompt_type";
constexpr std::string_view kPromptTextTag = "mlflow.prompt.text";

// Every event that MLflow 3 knows, each with an example of its data. budget_policy.exceeded belongs to its gateway.
struct Known {
  std::string_view event;
  std::string_view example;
};
constexpr std::array<Known, 15> kKnown{{
    {"registered_model.created", R"({"name":"example_model","tags":{"example_key":"example_value"},)"
                                 R"("description":"An example registered model"})"},
    {"model_version.created", R"({"name":"example_model","version":"1","source":"models:/123",)"
                              R"("run_id":"abcd1234abcd5678","tags":{"example_key":"example_value"},)"
                              R"("description":"An example model version"})"},
    {"model_version_tag.set", R"({"name":"example_model","version":"1","key":"example_key","value":"example_value"})"},
    {"model_version_tag.deleted", R"({"name":"example_model","version":"1","key":"example_key"})"},
    {"model_version_alias.created", R"({"name":"example_model","alias":"example_alias","version":"1"})"},
    {"model_version_alias.deleted", R"({"name":"example_model","alias":"example_alias"})"},
    {"prompt.created",
     R"({"name":"example_prompt","tags":{"example_key":"example_value"},"description":"An example prompt"})"},
    {"prompt_version.created", R"({"name":"example_prompt","version":"1","template":"Hello {{name}}!",)"
                               R"("tags":{"example_key":"example_value"},"description":"An example prompt version"})"},
    {"prompt_tag.set", R"({"name":"example_prompt","key":"example_key","value":"example_value"})"},
    {"prompt_tag.deleted", R"({"name":"example_prompt","key":"example_key"})"},
    {"prompt_version_tag.set",
     R"({"name":"example_prompt","version":"1","key":"example_key","value":"example_value"})"},
    {"prompt_version_tag.deleted", R"({"name":"example_prompt","version":"1","key":"example_key"})"},
    {"prompt_alias.created", R"({"name":"example_prompt","alias":"example_alias","version":"1"})"},
    {"prompt_alias.deleted", R"({"name":"example_prompt","alias":"example_alias"})"},
    {"budget_policy.exceeded",
     R"({"budget_policy_id":"bp-abc123","budget_unit":"USD","budget_amount":100.0,"current_spend":105.5,)"
     R"("duration_unit":"MONTHS","duration_value":1,"target_scope":"ENDPOINT","workspace":"default",)"
     R"("target_value":"ep-abc123","window_start":1704067200000})"},
}};

// "models/<name>" or "models/<name>/<number>".
struct Subject {
  std::string name;
  std::string number;  // "" = the model itself
};

Subject subject_of(const std::string& text) {
  const std::size_t begin = text.find('/') + 1;
  const std::size_t slash = text.find('/', begin);
  if (slash == std::string::npos) return {text.substr(begin), ""};
  return {text.substr(begin, slash - begin), text.substr(slash + 1)};
}

webhooks::Message message_of(std::string_view entity, std::string_view action, std::int64_t at_ms,
                             const json::Value& data) {
  std::string at = format_utc(at_ms);
  at.replace(at.size() - 1, 1, "+00:00");  // as Python's isoformat has it
  return {fmt::format("{}.{}", entity, action),
          json::serialize(json::Object{{"entity", entity}, {"action", action}, {"timestamp", at}, {"data", data}})};
}

json::Value or_null(const std::string& text) { return text.empty() ? json::Value(nullptr) : json::Value(text); }

json::Object shown_tags(const models::Tags& tags, bool prompt) {
  json::Object out;
  for (const auto& [key, value] : tags) {
    const bool hidden =
        key == kModelIdTag || (prompt && (key == kPromptTag || key == kPromptTypeTag || key == kPromptTextTag));
    if (!hidden) out[key] = value;
  }
  return out;
}

// What is said of one event. Facts that the event lacks are read as they stand now, some milliseconds later; what has
// been deleted since is said without them.
class Wording {
 public:
  Wording(models::Models& models, const events::Event& event)
      : models_(models), event_(event), subject_(subject_of(event.subject)) {}

  Result<std::optional<webhooks::Message>> message() {
    using namespace models::events_of;
    const std::string& kind = event_.kind;
    if (kind == kCreated) return model_created();
    if (kind == kVersionRegistered) return version_created();
    if (kind == kTagged) return tagged();
    if (kind == kAliasSet) return alias(true);
    if (kind == kAliasDeleted) return alias(false);
    return std::optional<webhooks::Message>();
  }

 private:
  std::optional<webhooks::Message> say(std::string_view entity, std::string_view action, const json::Object& data) {
    return message_of(entity, action, event_.at_ms, data);
  }

  [[nodiscard]] std::string text(std::string_view key) const {
    const json::Value* value = event_.payload.if_contains(key);
    return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
  }

  Result<bool> of_prompt() {
    auto model = models_.parts().database.read([&](sql::Tx& tx) { return models_.model(tx, subject_.name); });
    if (!model && model.error().code != Code::kNotFound) return std::unexpected(model.error());
    return model && is_prompt(model->tags);
  }

  Result<std::optional<webhooks::Message>> model_created() {
    models::Tags tags;
    if (const json::Value* given = event_.payload.if_contains("tags"); given != nullptr) {
      tags = TM_TRY(json::from_json<models::Tags>(*given));
    }
    const bool prompt = is_prompt(tags);
    return say(prompt ? "prompt" : "registered_model", "created",
               {{"name", subject_.name}, {"tags", shown_tags(tags, prompt)}, {"description", text("description")}});
  }

  Result<std::optional<webhooks::Message>> version_created() {
    auto version = models_.version(subject_.name, std::atoll(subject_.number.c_str()));
    if (!version && version.error().code != Code::kNotFound) return std::unexpected(version.error());
    const models::Version known = version.value_or(models::Version{});
    const bool prompt = TM_TRY(of_prompt());
    json::Object data{{"name", subject_.name}, {"version", subject_.number}};
    if (prompt) {
      const auto words = known.tags.find(std::string(kPromptTextTag));
      data["template"] = words == known.tags.end() ? json::Value(nullptr) : json::Value(words->second);
    } else {
      data["source"] = text("source");
      data["run_id"] = or_null(text("run_id"));
    }
    data["tags"] = shown_tags(known.tags, prompt);
    data["description"] = or_null(known.description);
    return say(prompt ? "prompt_version" : "model_version", "created", data);
  }

  Result<std::optional<webhooks::Message>> tagged() {
    const bool prompt = TM_TRY(of_prompt());
    const json::Value* value = event_.payload.if_contains("value");
    const bool set = value != nullptr && value->is_string();
    json::Object data{{"name", subject_.name}};
    if (!subject_.number.empty()) data["version"] = subject_.number;
    data["key"] = text("key");
    if (set) data["value"] = *value;
    // MLflow tells of the tags of a prompt, but not of those of a registered model.
    if (subject_.number.empty() && !prompt) return std::optional<webhooks::Message>();
    const std::string entity = fmt::format("{}_tag", subject_.number.empty() ? "prompt"
                                                     : prompt                ? "prompt_version"
                                                                             : "model_version");
    return say(entity, set ? "set" : "deleted", data);
  }

  Result<std::optional<webhooks::Message>> alias(bool set) {
    const bool prompt = TM_TRY(of_prompt());
    json::Object data{{"name", subject_.name}, {"alias", text("alias")}};
    if (set) data["version"] = subject_.number;
    return say(prompt ? "prompt_alias" : "model_version_alias", set ? "created" : "deleted", data);
  }

  models::Models& models_;
  const events::Event& event_;
  const Subject subject_;
};

Result<const Known*> known_event(const std::string& event) {
  for (const Known& known : kKnown) {
    if (known.event == event) return &known;
  }
  return fail(Code::kInvalidArgument, "webhooks.bad_event",
              fmt::format("'{}' is no event of MLflow's webhooks.", event.substr(0, 128)),
              "Use one such as registered_model.created.");
}

}  // namespace

webhooks::Translation webhook_words(models::Models& models) {
  webhooks::Translation words;
  words.message = [&models](const events::Event& event) { return Wording(models, event).message(); };
  words.example = [](const std::string& event, std::int64_t at_ms) -> Result<webhooks::Message> {
    const Known* known = TM_TRY(known_event(event));
    const std::size_t dot = event.find('.');
    return message_of(event.substr(0, dot), event.substr(dot + 1), at_ms, TM_TRY(json::parse(known->example)));
  };
  words.check = [](const std::string& event) -> Result<void> {
    TM_CHECK(known_event(event));
    return {};
  };
  words.header_prefix = "X-MLflow";
  return words;
}

}  // namespace tidemill::mlflow
