// Experiments, runs and files. Logged models and the registry are in mlflow_import_models.cc.
#include "cli/mlflow_import.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/files.h"

namespace tidemill::cli::mlflow {
namespace {

constexpr std::size_t kPairsABatch = 100;
constexpr std::size_t kPointsABatch = 1'000;
constexpr const char* kUploads = "/api/2.0/mlflow-artifacts/artifacts";

json::Object pair_json(const std::string& key, const std::string& value) { return {{"key", key}, {"value", value}}; }

// Gives `send` the items in batches of at most `most`.
Result<void> in_batches(const json::Array& items, std::size_t most,
                        const std::function<Result<void>(json::Array)>& send) {
  for (std::size_t from = 0; from < items.size(); from += most) {
    json::Array batch;
    for (std::size_t i = from; i < std::min(items.size(), from + most); ++i) batch.push_back(items[i]);
    TM_CHECK(send(std::move(batch)));
  }
  return {};
}

json::Value value_json(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return value;
}

}  // namespace

json::Object point_json(const std::string& key, const Point& point) {
  return {{"key", key}, {"value", value_json(point.value)}, {"timestamp", point.at_ms}, {"step", point.step}};
}

json::Array pairs_json(const Pairs& pairs) {
  json::Array array;
  for (const auto& [key, value] : pairs) array.push_back(pair_json(key, value));
  return array;
}

Result<json::Value> Importer::post(std::string_view operation, const json::Object& body) {
  return client_.post(fmt::format("/api/2.0/mlflow/{}", operation), body);
}

Result<void> Importer::run() {
  const auto experiments = TM_TRY(source_.experiments());
  for (const Experiment& experiment : experiments) {
    ++ledger_["experiments"].read;
    TM_CHECK(ledger_.tolerate("experiments", experiment.name, import_experiment(experiment)));
  }
  for (const RegisteredModel& model : TM_TRY(source_.registered_models())) {
    ++ledger_["registered models"].read;
    TM_CHECK(ledger_.tolerate("registered models", model.name, import_registered_model(model)));
  }
  return {};
}

// Finds the experiment of the same name, else makes it, with its id where that is free.
Result<Experiment> Importer::experiment_there(const Experiment& experiment) {
  const auto find = [&]() -> Result<std::optional<Experiment>> {
    for (Experiment& one : TM_TRY(target_->experiments())) {
      if (one.name == experiment.name) return std::optional(std::move(one));
    }
    return std::optional<Experiment>();
  };
  if (auto found = TM_TRY(find())) {
    ++ledger_["experiments"].same;
    return *std::move(found);
  }
  json::Object body{{"name", experiment.name}, {"tags", pairs_json(experiment.tags)}, {"experiment_id", experiment.id}};
  if (experiment.made_ms) body["creation_time"] = *experiment.made_ms;
  if (auto made = post("imports/experiments", body); !made) {
    if (made.error().code != Code::kAlreadyExists && made.error().code != Code::kInvalidArgument) {
      return std::unexpected(made.error());
    }
    body.erase("experiment_id");  // its id is taken by another here
    TM_CHECK(post("imports/experiments", body));
  }
  ++ledger_["experiments"].written;
  if (auto found = TM_TRY(find())) return *std::move(found);
  return fail(Code::kInternal, "import.lost",
              fmt::format("Experiment '{}' was made but is not found.", experiment.name), "Try again.");
}

Result<void> Importer::import_experiment(const Experiment& experiment) {
  const Experiment there = TM_TRY(experiment_there(experiment));
  if (there.deleted) TM_CHECK(post("experiments/restore", {{"experiment_id", there.id}}));
  for (const auto& [key, value] : experiment.tags) {
    const auto found = there.tags.find(key);
    if (found != there.tags.end() && found->second == value) continue;
    TM_CHECK(post("experiments/set-experiment-tag", {{"experiment_id", there.id}, {"key", key}, {"value", value}}));
  }
  const auto done = import_content(experiment, there);
  if (experiment.deleted || there.deleted) TM_CHECK(post("experiments/delete", {{"experiment_id", there.id}}));
  TM_CHECK(done);
  ++ledger_["experiments"].verified;
  return {};
}

Result<void> Importer::import_content(const Experiment& from, const Experiment& to) {
  std::map<std::string, LoggedModel> there;
  for (LoggedModel& model : TM_TRY(target_->logged_models(to))) {
    const std::string id = model.id;
    there.emplace(id, std::move(model));
  }
  std::vector<LoggedModel> models;
  for (LoggedModel& model : TM_TRY(source_.logged_models(from))) {
    ++ledger_["logged models"].read;
    if (model.deleted) {
      ledger_.skip("logged models", model.id, "It is deleted.");
      continue;
    }
    TM_CHECK(ledger_.tolerate("logged models", model.id, import_logged_model(model, to, there)));
    models.push_back(std::move(model));
  }
  TM_CHECK(source_.each_run(from, [&](const Run& run) -> Result<void> {
    ++ledger_["runs"].read;
    ledger_.progress();
    return ledger_.tolerate("runs", run.id, import_run(run, to));
  }));
  for (const LoggedModel& model : models) {
    if (!logged_models_.contains(model.id)) continue;
    const auto found = there.find(model.id);
    TM_CHECK(ledger_.tolerate("logged models", model.id,
                              import_model_metrics(model, found == there.end() ? nullptr : &found->second)));
  }
  TM_CHECK(verify_logged_models(models, to));
  return delete_runs();
}

Result<Run> Importer::run_there(const Run& run, const Experiment& to) {
  if (auto found = TM_TRY(server_run(client_, run.id))) {
    if (found->experiment != to.id) {
      return fail(Code::kConflict, "import.run_elsewhere",
                  fmt::format("It is in experiment {} here, not in {}.", found->experiment, to.id),
                  "Delete the one that is not wanted.");
    }
    return *std::move(found);
  }
  json::Object body{{"run_id", run.id}, {"experiment_id", to.id}, {"run_name", run.name}, {"user_id", run.person}};
  if (run.start_ms) body["start_time"] = *run.start_ms;
  TM_CHECK(post("imports/runs", body));
  ++ledger_["runs"].written;
  auto made = TM_TRY(server_run(client_, run.id));
  if (made) return *std::move(made);
  return fail(Code::kInternal, "import.lost", "It was made but is not found.", "Try again.");
}

Result<void> Importer::make_writable(const Run& there) {
  if (!there.deleted || !writable_.insert(there.id).second) return {};
  TM_CHECK(post("runs/restore", {{"run_id", there.id}}));
  to_delete_.insert(there.id);
  return {};
}

Result<void> Importer::import_run(const Run& run, const Experiment& to) {
  const auto written_before = ledger_["runs"].written;
  const Run there = TM_TRY(run_there(run, to));
  artefact_uris_[run.id] = run.artefact_uri;
  artefact_uris_there_[run.id] = there.artefact_uri;
  if (ledger_["runs"].written == written_before) ++ledger_["runs"].same;
  TM_CHECK(log_pairs(run, there));
  TM_CHECK(log_curves(run, there));
  TM_CHECK(log_links(run, there));
  TM_CHECK(ledger_.tolerate("artefacts", run.id, copy_files(run.id, run.artefact_uri, there.artefact_uri)));
  TM_CHECK(end_run(run, there));
  if (run.deleted && !there.deleted) to_delete_.insert(run.id);
  return verify_run(run, to);
}

Result<void> Importer::log_pairs(const Run& run, const Run& there) {
  for (const auto& [kind, ours, theirs] :
       {std::tuple{"params", &run.params, &there.params}, std::tuple{"tags", &run.tags, &there.tags}}) {
    Count& count = ledger_[kind];
    json::Array missing;
    for (const auto& [key, value] : *ours) {
      ++count.read;
      const auto found = theirs->find(key);
      if (found != theirs->end() && found->second == value) {
        ++count.same;
      } else if (found == theirs->end() || std::string_view(kind) == "tags") {  // another value: verify_run tells
        missing.push_back(pair_json(key, value));
      }
    }
    if (!missing.empty()) TM_CHECK(make_writable(there));
    TM_CHECK(in_batches(missing, kPairsABatch, [&](json::Array batch) -> Result<void> {
      count.written += static_cast<std::int64_t>(batch.size());
      TM_CHECK(post("runs/log-batch", {{"run_id", run.id}, {kind, std::move(batch)}}));
      return {};
    }));
  }
  return {};
}

Result<void> Importer::log_curves(const Run& run, const Run& there) {
  for (const std::string& key : run.metrics) {
    Count& count = ledger_["points"];
    const auto curve = TM_TRY(source_.curve(run, key));
    count.read += static_cast<std::int64_t>(curve.size());
    std::vector<Point> missing = curve;
    if (std::ranges::binary_search(there.metrics, key)) {
      const auto known = TM_TRY(target_->curve(there, key));
      missing.clear();
      std::ranges::set_difference(curve, known, std::back_inserter(missing),
                                  [](const Point& a, const Point& b) { return a < b; });
    }
    count.same += static_cast<std::int64_t>(curve.size() - missing.size());
    if (!missing.empty()) TM_CHECK(make_writable(there));
    for (std::size_t from = 0; from < missing.size(); from += kPointsABatch) {
      json::Array batch;
      for (std::size_t i = from; i < std::min(missing.size(), from + kPointsABatch); ++i) {
        batch.push_back(point_json(key, missing[i]));
      }
      count.written += static_cast<std::int64_t>(batch.size());
      TM_CHECK(post("runs/log-batch", {{"run_id", run.id}, {"metrics", std::move(batch)}}));
    }
    ledger_.progress();
  }
  return {};
}

Result<void> Importer::log_links(const Run& run, const Run& there) {
  Count& count = ledger_["inputs and outputs"];
  json::Array datasets;
  for (const Dataset& input : run.inputs) {
    ++count.read;
    if (std::ranges::binary_search(there.inputs, input)) {
      ++count.same;
      continue;
    }
    json::Object dataset{
        {"name", input.name}, {"digest", input.digest}, {"source_type", input.source_type}, {"source", input.source}};
    if (!input.schema.empty()) dataset["schema"] = input.schema;
    if (!input.profile.empty()) dataset["profile"] = input.profile;
    datasets.push_back(json::Object{{"tags", pairs_json(input.tags)}, {"dataset", std::move(dataset)}});
  }
  const auto missing = [&](const auto& ours, const auto& theirs) {
    json::Array models;
    for (const auto& [id, step] : ours) {
      ++count.read;
      if (theirs.contains(id)) {
        ++count.same;
      } else {
        models.push_back(json::Object{{"model_id", id}, {"step", step}});
      }
    }
    return models;
  };
  json::Array inputs = missing(run.input_models, there.input_models);
  json::Array outputs = missing(run.output_models, there.output_models);
  if (!datasets.empty() || !inputs.empty() || !outputs.empty()) TM_CHECK(make_writable(there));
  count.written += static_cast<std::int64_t>(datasets.size() + inputs.size() + outputs.size());
  if (!datasets.empty() || !inputs.empty()) {
    TM_CHECK(post("runs/log-inputs",
                  {{"run_id", run.id}, {"datasets", std::move(datasets)}, {"models", std::move(inputs)}}));
  }
  if (!outputs.empty()) TM_CHECK(post("runs/outputs", {{"run_id", run.id}, {"models", std::move(outputs)}}));
  return {};
}

Result<void> Importer::end_run(const Run& run, const Run& there) {
  if (run.status == there.status && run.end_ms == there.end_ms) return {};
  TM_CHECK(make_writable(there));
  json::Object body{{"run_id", run.id}, {"status", run.status}};
  if (run.end_ms) body["end_time"] = *run.end_ms;
  TM_CHECK(post("runs/update", body));
  return {};
}

Result<void> Importer::delete_runs() {
  for (const std::string& id : to_delete_) TM_CHECK(post("runs/delete", {{"run_id", id}}));
  to_delete_.clear();
  return {};
}

Result<void> Importer::verify_run(const Run& run, const Experiment& to) {
  const auto there = TM_TRY(server_run(client_, run.id));
  if (!there || there->experiment != to.id) {
    ledger_.differ("runs", run.id, "It is not found after it was written.");
    return {};
  }
  const auto check = [&](bool equal, const std::string& what) {
    if (!equal) ledger_.differ("runs", run.id, what);
    return equal;
  };
  const auto subset = [](const Pairs& ours, const Pairs& theirs) {
    return std::ranges::all_of(ours, [&](const auto& pair) {
      const auto found = theirs.find(pair.first);
      return found != theirs.end() && found->second == pair.second;
    });
  };
  bool equal = check(run.name.empty() || run.name == there->name, "Its name is another.");
  equal &= check(run.status == there->status && run.start_ms == there->start_ms && run.end_ms == there->end_ms,
                 "Its status or times are others.");
  equal &= check(subset(run.params, there->params), "A parameter has another value.");
  equal &= check(subset(run.tags, there->tags), "A tag has another value.");
  equal &= check(std::ranges::includes(there->inputs, run.inputs), "The data sets that it read are others.");
  for (const std::string& key : run.metrics) {
    const auto ours = TM_TRY(source_.curve(run, key));
    const auto theirs = TM_TRY(target_->curve(*there, key));
    const bool all = std::ranges::includes(theirs, ours, [](const Point& a, const Point& b) { return a < b; });
    equal &= check(all, fmt::format("Points of '{}' differ.", key));
    if (all) ledger_["points"].verified += static_cast<std::int64_t>(ours.size());
  }
  if (equal) ++ledger_["runs"].verified;
  return {};
}

Result<void> Importer::copy_files(const std::string& name, const std::string& from, const std::string& to) {
  const auto root = own_path(to);
  if (from.empty() || !root) return {};
  const auto files = TM_TRY(source_.files(from));
  std::map<std::string, File> known;
  for (File& file : TM_TRY(target_->files(to))) {
    const std::string path = file.path;
    known.emplace(path, std::move(file));
  }
  std::map<std::string, std::string> expected;  // path -> SHA-256
  for (const File& file : files) {
    Count& count = ledger_["artefacts"];
    ++count.read;
    ledger_.progress();
    const auto found = known.find(file.path);
    std::string sha256 = file.sha256;
    const bool here = found != known.end() && found->second.bytes == file.bytes;
    std::filesystem::path local;
    if (sha256.empty()) {
      local = TM_TRY(source_.fetch(from, file, scratch_));
      sha256 = TM_TRY(file_sha256(local));
    }
    if (here && found->second.sha256 == sha256) {
      ++count.same;
    } else {
      if (local.empty()) local = TM_TRY(source_.fetch(from, file, scratch_));
      TM_CHECK(client_.put_file(kUploads + encoded_path(*root + "/" + file.path), local));
      ++count.written;
    }
    if (local.parent_path() == scratch_) {
      std::error_code ignored;
      std::filesystem::remove(local, ignored);
    }
    expected[file.path] = sha256;
  }
  for (const File& file : TM_TRY(target_->files(to))) {
    const auto wanted = expected.find(file.path);
    if (wanted == expected.end()) continue;
    if (wanted->second == file.sha256) {
      ++ledger_["artefacts"].verified;
      expected.erase(wanted);
    }
  }
  for (const auto& [path, sha256] : expected) {
    ledger_.differ("artefacts", name + "/" + path, "The SHA-256 here is another.");
  }
  return {};
}

}  // namespace tidemill::cli::mlflow
