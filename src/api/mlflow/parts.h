// The parts of the protocol; private to this room. Each adds its endpoints.
#pragma once

#include <filesystem>

#include "api/mlflow/endpoint.h"
#include "api/mlflow/json_text.h"
#include "base/clock.h"
#include "flow/models/models.h"
#include "flow/runs/runs.h"
#include "flow/traces/traces.h"
#include "webhooks/webhooks.h"

namespace tidemill::mlflow {

void add_experiments(Endpoints& endpoints, runs::Runs& runs);
void add_runs(Endpoints& endpoints, runs::Runs& runs);
void add_logging(Endpoints& endpoints, runs::Runs& runs);
void add_metrics(Endpoints& endpoints, runs::Runs& runs);
void add_logged_models(Endpoints& endpoints, runs::Runs& runs);
void add_artifacts(Endpoints& endpoints, runs::Runs& runs, const std::filesystem::path& scratch_folder);
void add_multipart(Endpoints& endpoints, runs::Runs& runs, const std::filesystem::path& scratch_folder);
void add_registered_models(Endpoints& endpoints, models::Models& models);
void add_imports(Endpoints& endpoints, runs::Runs& runs, models::Models& models);
void add_model_versions(Endpoints& endpoints, runs::Runs& runs, models::Models& models);
void add_traces(Endpoints& v2, Endpoints& v3, traces::Traces& traces, runs::Runs& runs, const Clock& clock,
                const std::filesystem::path& scratch_folder);
void add_assessments(Endpoints& endpoints, traces::Traces& traces, const Clock& clock);
// Takes spans; stands outside of MLflow's own paths.
[[nodiscard]] http::Route otlp_route(traces::Traces& traces);

// Returns a file of our own store. The path is checked here.
[[nodiscard]] Result<http::Response> download_artifact(runs::Runs& runs, const std::filesystem::path& scratch_folder,
                                                       const std::string& path);

void write(JsonText& json, const runs::Experiment& experiment);
void write(JsonText& json, const runs::RunInfo& run);
void write(JsonText& json, const runs::Run& run);
void write(JsonText& json, const runs::LoggedModel& model);
void write(JsonText& json, std::string_view key, const runs::Point& point);
void write_pairs(JsonText& json, std::string_view name, const std::vector<runs::KeyValue>& pairs);

void write(JsonText& json, const webhooks::Webhook& webhook);

// Writes {"name": <item>} for one item.
template <class T>
std::string wrapped(std::string_view name, const T& item) {
  JsonText json;
  json.begin_object().key(name);
  write(json, item);
  json.end_object();
  return json.take();
}

// Writes {"name": [<items>], "next_page_token": …}.
template <class T>
std::string wrapped(std::string_view name, const runs::Page<T>& page) {
  JsonText json;
  json.begin_object().key(name).begin_array();
  for (const T& item : page.items) write(json, item);
  json.end_array();
  if (page.next) json.text("next_page_token", page_token(*page.next));
  json.end_object();
  return json.take();
}

// Refuses a path of an artefact that leads elsewhere, however often it is escaped.
[[nodiscard]] Result<void> check_safe(std::string_view path);

inline constexpr std::string_view kNothing = "{}";
inline constexpr std::string_view kRunNameTag = "mlflow.runName";

// max_results within [1, max], or `fallback` when absent.
[[nodiscard]] Result<std::int64_t> max_results(const Fields& fields, std::int64_t fallback, std::int64_t max);

}  // namespace tidemill::mlflow
