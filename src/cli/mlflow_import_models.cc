// Logged models, registered models and their versions.
#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "cli/mlflow_import.h"

namespace tidemill::cli::mlflow {

namespace {

constexpr std::size_t kPointsABatch = 1'000;
constexpr const char* kNoStage = "None";

using MetricKey = std::tuple<std::string, std::string, std::string, std::string>;

// The newest point of each curve of a model.
std::map<MetricKey, Point> newest(const LoggedModel& model) {
  std::map<MetricKey, Point> found;
  for (const ModelMetric& metric : model.metrics) {
    const MetricKey key{metric.key, metric.dataset_name, metric.dataset_digest, metric.run};
    const auto at = found.find(key);
    if (at == found.end() || at->second < metric) found[key] = metric;
  }
  return found;
}

bool same_newest(const LoggedModel& ours, const LoggedModel& theirs) {
  const auto a = newest(ours);
  const auto b = newest(theirs);
  return std::ranges::all_of(a, [&](const auto& one) {
    const auto found = b.find(one.first);
    return found != b.end() && found->second == one.second;
  });
}

bool subset(const Pairs& ours, const Pairs& theirs) {
  return std::ranges::all_of(ours, [&](const auto& pair) {
    const auto found = theirs.find(pair.first);
    return found != theirs.end() && found->second == pair.second;
  });
}

std::string model_path(const std::string& id) { return "/api/2.0/mlflow/logged-models/" + percent_encoded(id); }

}  // namespace

Result<void> Importer::import_logged_model(const LoggedModel& model, const Experiment& to,
                                           const std::map<std::string, LoggedModel>& there) {
  const auto found = there.find(model.id);
  std::string artefact_uri;
  std::string status;
  if (found == there.end()) {
    json::Object body{{"model_id", model.id},
                      {"experiment_id", to.id},
                      {"name", model.name},
                      {"model_type", model.type},
                      {"source_run_id", model.source_run},
                      {"params", pairs_json(model.params)},
                      {"tags", pairs_json(model.tags)}};
    if (model.made_ms) body["creation_timestamp_ms"] = *model.made_ms;
    const json::Value made = TM_TRY(post("imports/logged-models", body));
    if (made.is_object()) {
      const json::Object& info = object_of(object_of(made.get_object(), "model"), "info");
      artefact_uri = text_of(info, "artifact_uri");
      status = text_of(info, "status");
    }
    ++ledger_["logged models"].written;
  } else {
    ++ledger_["logged models"].same;
    artefact_uri = found->second.artefact_uri;
    status = found->second.status;
    if (!subset(model.tags, found->second.tags)) {
      TM_CHECK(client_.patch(model_path(model.id) + "/tags", json::Object{{"tags", pairs_json(model.tags)}}));
    }
  }
  logged_models_.insert(model.id);
  TM_CHECK(ledger_.tolerate("artefacts", model.id, copy_files(model.id, model.artefact_uri, artefact_uri)));
  if (status != model.status && !model.status.ends_with("UNSPECIFIED")) {
    TM_CHECK(client_.patch(model_path(model.id), json::Object{{"model_id", model.id}, {"status", model.status}}));
  }
  return {};
}

Result<void> Importer::import_model_metrics(const LoggedModel& model, const LoggedModel* there) {
  if (there != nullptr && same_newest(model, *there)) return {};
  std::map<std::string, json::Array> by_run;
  for (const ModelMetric& metric : model.metrics) {
    json::Object point = point_json(metric.key, metric);
    point["model_id"] = model.id;
    if (!metric.dataset_name.empty()) point["dataset_name"] = metric.dataset_name;
    if (!metric.dataset_digest.empty()) point["dataset_digest"] = metric.dataset_digest;
    by_run[metric.run].push_back(std::move(point));
  }
  for (auto& [run, points] : by_run) {
    const auto there_run = TM_TRY(server_run(client_, run));
    if (!there_run) {
      ledger_.skip("logged models", model.id, fmt::format("Metrics of run '{}', which is not here.", run));
      continue;
    }
    TM_CHECK(make_writable(*there_run));
    for (std::size_t from = 0; from < points.size(); from += kPointsABatch) {
      json::Array batch;
      for (std::size_t i = from; i < std::min(points.size(), from + kPointsABatch); ++i) batch.push_back(points[i]);
      TM_CHECK(post("runs/log-batch", {{"run_id", run}, {"metrics", std::move(batch)}}));
    }
  }
  return {};
}

Result<void> Importer::verify_logged_models(const std::vector<LoggedModel>& models, const Experiment& to) {
  if (models.empty()) return {};
  const auto there = TM_TRY(target_->logged_models(to));
  for (const LoggedModel& model : models) {
    const auto found = std::ranges::find(there, model.id, &LoggedModel::id);
    if (found == there.end()) continue;  // noted when it could not be written
    if (found->name == model.name && found->status == model.status && subset(model.params, found->params) &&
        subset(model.tags, found->tags) && same_newest(model, *found)) {
      ++ledger_["logged models"].verified;
    } else {
      ledger_.differ("logged models", model.id, "Its name, status, parameters, tags or metrics are others.");
    }
  }
  return {};
}

Result<void> Importer::import_registered_model(const RegisteredModel& model) {
  const auto find = [&]() -> Result<std::optional<RegisteredModel>> {
    for (RegisteredModel& one : TM_TRY(target_->registered_models())) {
      if (one.name == model.name) return std::optional(std::move(one));
    }
    return std::optional<RegisteredModel>();
  };
  if (const auto there = TM_TRY(find())) {
    ++ledger_["registered models"].same;
    for (const auto& [key, value] : model.tags) {
      const auto found = there->tags.find(key);
      if (found != there->tags.end() && found->second == value) continue;
      TM_CHECK(post("registered-models/set-tag", {{"name", model.name}, {"key", key}, {"value", value}}));
    }
  } else {
    json::Object body{{"name", model.name}, {"description", model.description}, {"tags", pairs_json(model.tags)}};
    if (model.made_ms) body["creation_timestamp"] = *model.made_ms;
    TM_CHECK(post("imports/registered-models", body));
    ++ledger_["registered models"].written;
  }
  TM_CHECK(import_versions(model));
  const auto there = TM_TRY(find());
  if (!there || !subset(model.tags, there->tags)) {
    ledger_.differ("registered models", model.name, "Its tags are others.");
    return {};
  }
  TM_CHECK(set_aliases(model, *there));
  ++ledger_["registered models"].verified;
  return {};
}

Result<void> Importer::import_versions(const RegisteredModel& model) {
  const auto by_number = [](std::vector<Version> versions) {
    std::map<std::string, Version> found;
    for (Version& version : versions) {
      const std::string number = version.number;
      found.emplace(number, std::move(version));
    }
    return found;
  };
  const auto wanted = TM_TRY(source_.versions(model));
  const auto before = by_number(TM_TRY(target_->versions(model)));
  for (const Version& version : wanted) {
    Count& count = ledger_["versions"];
    ++count.read;
    if (before.contains(version.number)) {
      ++count.same;
      continue;
    }
    TM_CHECK(ledger_.tolerate("versions", model.name + " " + version.number, add_version(version)));
  }
  const auto after = by_number(TM_TRY(target_->versions(model)));
  for (const Version& version : wanted) {
    const auto found = after.find(version.number);
    if (found == after.end()) continue;
    TM_CHECK(ledger_.tolerate("versions", model.name + " " + version.number, settle_version(version, found->second)));
  }
  return {};
}

Result<void> Importer::add_version(const Version& version) {
  json::Object body{
      {"name", version.model},           {"version", version.number},    {"source", TM_TRY(source_here(version))},
      {"run_id", version.run},           {"run_link", version.run_link}, {"description", version.description},
      {"tags", pairs_json(version.tags)}};
  if (logged_models_.contains(version.logged_model)) body["model_id"] = version.logged_model;
  if (version.made_ms) body["creation_timestamp"] = *version.made_ms;
  TM_CHECK(post("imports/model-versions", body));
  ++ledger_["versions"].written;
  return {};
}

Result<void> Importer::settle_version(const Version& version, const Version& there) {
  if (!version.stage.empty() && version.stage != kNoStage && version.stage != there.stage) {
    TM_CHECK(post("model-versions/transition-stage", {{"name", version.model},
                                                      {"version", version.number},
                                                      {"stage", version.stage},
                                                      {"archive_existing_versions", false}}));
  }
  for (const auto& [key, value] : version.tags) {
    const auto found = there.tags.find(key);
    if (found != there.tags.end() && found->second == value) continue;
    TM_CHECK(post("model-versions/set-tag",
                  {{"name", version.model}, {"version", version.number}, {"key", key}, {"value", value}}));
  }
  if (version.run == there.run || version.run.empty()) {
    ++ledger_["versions"].verified;
  } else {
    ledger_.differ("versions", version.model + " " + version.number, "Another version has this number here.");
  }
  return {};
}

Result<void> Importer::set_aliases(const RegisteredModel& model, const RegisteredModel& there) {
  for (const auto& [alias, number] : model.aliases) {
    Count& count = ledger_["aliases"];
    ++count.read;
    const auto found = there.aliases.find(alias);
    if (found != there.aliases.end() && found->second == number) {
      ++count.same;
      ++count.verified;
      continue;
    }
    const auto set = post("registered-models/alias", {{"name", model.name}, {"alias", alias}, {"version", number}});
    if (set) {
      ++count.written;
      ++count.verified;  // the answer came after the commit
      continue;
    }
    TM_CHECK(ledger_.tolerate("aliases", model.name + " " + alias, std::unexpected(set.error())));
  }
  return {};
}

Result<std::string> Importer::source_here(const Version& version) {
  if (logged_models_.contains(version.logged_model)) return "models:/" + version.logged_model;
  if (version.source.starts_with("runs:/") || version.source.starts_with("models:/")) return version.source;
  const std::string place = version.artefact_uri.empty() ? version.source : version.artefact_uri;
  if (const auto run = artefact_uris_.find(version.run); run != artefact_uris_.end()) {
    // Old registries name the folder of the run's artefacts, which has moved with the run.
    const auto inner = local_folder(place);
    const auto outer = local_folder(run->second);
    const std::string from = inner && outer ? inner->string() : place;
    const std::string root = inner && outer ? outer->string() : run->second;
    if (from.starts_with(root + "/")) return artefact_uris_there_.at(version.run) + from.substr(root.size());
  }
  const std::string to = fmt::format("mlflow-artifacts:/imports/{}/{}", version.model, version.number);
  const auto files = source_.files(place);
  if (files && !files->empty()) {
    TM_CHECK(copy_files(version.model + " " + version.number, place, to));
    return to;
  }
  return version.source;
}

}  // namespace tidemill::cli::mlflow
