#include "api/oip/metadata.h"

#include "api/oip/request.h"

namespace tidemill::oip {
namespace {

json::Value input_of(const models::ColumnSpec& column) {
  const bool category = column.kind == models::ColumnKind::category;
  json::Object input{{"name", column.name}, {"datatype", category ? "BYTES" : "FP64"}, {"shape", json::Array{-1}}};
  if (category) input["parameters"] = json::Object{{"categories", json::to_json(column.categories)}};
  return input;
}

}  // namespace

json::Array versions_of(const predictions::Loaded& loaded) {
  json::Array versions{std::to_string(loaded.deployment.champion)};
  for (const auto& [version, scorer] : loaded.scorers) {
    if (version != loaded.deployment.champion) versions.emplace_back(std::to_string(version));
  }
  return versions;
}

json::Value metadata_of(const predictions::Loaded& loaded, const models::Scorer& scorer) {
  json::Array inputs;
  for (const auto& column : scorer.encoder.columns()) inputs.push_back(input_of(column));
  const json::Array outputs{json::Object{{"name", kProbability}, {"datatype", "FP64"}, {"shape", json::Array{-1}}},
                            json::Object{{"name", kLabel}, {"datatype", "INT64"}, {"shape", json::Array{-1}}}};
  return json::Object{{"name", loaded.deployment.name},
                      {"versions", versions_of(loaded)},
                      {"platform", "onnxruntime_onnx"},
                      {"inputs", std::move(inputs)},
                      {"outputs", outputs},
                      {"tensor", json::to_json(scorer.session->inputs())},
                      {"model", loaded.deployment.model},
                      {"version", std::to_string(scorer.number)},
                      {"feature_view", loaded.deployment.feature_view}};
}

}  // namespace tidemill::oip
