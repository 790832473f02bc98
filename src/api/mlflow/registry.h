// What registered models and their versions share; private to this room.
#pragma once

#include "api/mlflow/parts.h"
#include "flow/models/models.h"
#include "flow/runs/filter.h"

namespace tidemill::mlflow {

// MLflow 3 ties a version to the logged model that it came from; our rooms keep that as a tag, which is not shown as
// one.
inline constexpr std::string_view kModelIdTag = "tidemill.mlflow.model_id";

// Prompts are kept as models with this tag. Clients ask for models by "is_prompt != 'true'", which shall hold for those
// without the tag too.
inline constexpr std::string_view kPromptTag = "mlflow.prompt.is_prompt";

[[nodiscard]] bool is_prompt(const models::Tags& tags);
// Returns whether tags fit a comparison with one of them.
[[nodiscard]] bool fits_tags(const runs::Comparison& comparison, const models::Tags& tags);

[[nodiscard]] bool is_attribute(std::string_view entity);
[[nodiscard]] Result<models::Tags> tags_of(const Fields& fields);
[[nodiscard]] Result<std::int64_t> version_of(const Fields& fields);
void write(JsonText& json, const models::Version& version);
[[nodiscard]] inline std::string wrapped_version(const models::Version& version) {
  JsonText json;
  json.begin_object().key("model_version");
  write(json, version);
  json.end_object();
  return json.take();
}

}  // namespace tidemill::mlflow
