// A server that speaks MLflow's protocol: MLflow's own, or Tidemill.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/hash.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli::mlflow {
namespace {

constexpr std::string_view kOwnScheme = "mlflow-artifacts:";
constexpr std::int64_t kPage = 1'000;
constexpr std::int64_t kPointsPage = 25'000;
constexpr std::int64_t kModelsPage = 50;
constexpr std::int64_t kRegistryPage = 100;
constexpr int kDepthMax = 64;

std::string path_of(std::string_view operation) { return fmt::format("/api/2.0/mlflow/{}", operation); }

Pairs pairs_of(const json::Object& object, std::string_view key) {
  Pairs pairs;
  for (const auto& item : array_of(object, key)) {
    if (const auto* pair = item.if_object()) pairs[text_of(*pair, "key")] = text_of(*pair, "value");
  }
  return pairs;
}

Experiment read_experiment(const json::Object& object) {
  return {text_of(object, "experiment_id"),     text_of(object, "name"),
          text_of(object, "artifact_location"), text_of(object, "lifecycle_stage") == "deleted",
          integer_of(object, "creation_time"),  pairs_of(object, "tags")};
}

void read_links(const json::Object& run, Run& out) {
  for (const auto& item : array_of(object_of(run, "inputs"), "dataset_inputs")) {
    const auto* input = item.if_object();
    if (input == nullptr) continue;
    const json::Object& dataset = object_of(*input, "dataset");
    out.inputs.push_back({text_of(dataset, "name"), text_of(dataset, "digest"), text_of(dataset, "source_type"),
                          text_of(dataset, "source"), text_of(dataset, "schema"), text_of(dataset, "profile"),
                          pairs_of(*input, "tags")});
  }
  std::ranges::sort(out.inputs);
  for (const auto& item : array_of(object_of(run, "inputs"), "model_inputs")) {
    if (const auto* model = item.if_object()) out.input_models[text_of(*model, "model_id")] = 0;
  }
  for (const auto& item : array_of(object_of(run, "outputs"), "model_outputs")) {
    if (const auto* model = item.if_object()) {
      out.output_models[text_of(*model, "model_id")] = integer_of(*model, "step").value_or(0);
    }
  }
}

Run read_run(const json::Object& object) {
  const json::Object& info = object_of(object, "info");
  const json::Object& data = object_of(object, "data");
  Run run;
  run.id = text_of(info, "run_id");
  run.experiment = text_of(info, "experiment_id");
  run.name = text_of(info, "run_name");
  run.person = text_of(info, "user_id");
  run.status = text_of(info, "status");
  run.deleted = text_of(info, "lifecycle_stage") == "deleted";
  run.start_ms = integer_of(info, "start_time");
  run.end_ms = integer_of(info, "end_time");
  run.artefact_uri = text_of(info, "artifact_uri");
  run.params = pairs_of(data, "params");
  run.tags = pairs_of(data, "tags");
  for (const auto& item : array_of(data, "metrics")) {
    if (const auto* metric = item.if_object()) run.metrics.push_back(text_of(*metric, "key"));
  }
  std::ranges::sort(run.metrics);
  read_links(object, run);
  return run;
}

Result<Point> read_point(const json::Object& object) {
  return Point{integer_of(object, "step").value_or(0), integer_of(object, "timestamp").value_or(0),
               TM_TRY(number_of(text_of(object, "value")))};
}

Result<LoggedModel> read_logged_model(const json::Object& object) {
  const json::Object& info = object_of(object, "info");
  const json::Object& data = object_of(object, "data");
  LoggedModel model;
  model.id = text_of(info, "model_id");
  model.experiment = text_of(info, "experiment_id");
  model.name = text_of(info, "name");
  model.type = text_of(info, "model_type");
  model.source_run = text_of(info, "source_run_id");
  model.status = text_of(info, "status");
  model.artefact_uri = text_of(info, "artifact_uri");
  model.made_ms = integer_of(info, "creation_timestamp_ms");
  model.params = pairs_of(data, "params");
  model.tags = pairs_of(info, "tags");
  for (const auto& item : array_of(data, "metrics")) {
    const auto* metric = item.if_object();
    if (metric == nullptr) continue;
    ModelMetric one;
    static_cast<Point&>(one) = TM_TRY(read_point(*metric));
    one.key = text_of(*metric, "key");
    one.run = text_of(*metric, "run_id");
    one.dataset_name = text_of(*metric, "dataset_name");
    one.dataset_digest = text_of(*metric, "dataset_digest");
    model.metrics.push_back(std::move(one));
  }
  return model;
}

RegisteredModel read_registered_model(const json::Object& object) {
  RegisteredModel model;
  model.name = text_of(object, "name");
  model.description = text_of(object, "description");
  model.made_ms = integer_of(object, "creation_timestamp");
  model.tags = pairs_of(object, "tags");
  for (const auto& item : array_of(object, "aliases")) {
    if (const auto* alias = item.if_object()) model.aliases[text_of(*alias, "alias")] = text_of(*alias, "version");
  }
  return model;
}

Version read_version(const json::Object& object) {
  Version version;
  version.model = text_of(object, "name");
  version.number = text_of(object, "version");
  version.description = text_of(object, "description");
  version.stage = text_of(object, "current_stage");
  version.source = text_of(object, "source");
  version.run = text_of(object, "run_id");
  version.run_link = text_of(object, "run_link");
  version.logged_model = text_of(object, "model_id");
  version.made_ms = integer_of(object, "creation_timestamp");
  version.tags = pairs_of(object, "tags");
  return version;
}

class Server final : public Source {
 public:
  explicit Server(Client& client) : client_(client) {}

  Result<std::vector<Experiment>> experiments() override {
    std::vector<Experiment> found;
    TM_CHECK(pages("experiments/search", {{"max_results", kPage}, {"view_type", "ALL"}}, "experiments",
                   [&](const json::Object& object) -> Result<void> {
                     found.push_back(read_experiment(object));
                     return {};
                   }));
    std::ranges::sort(found, {}, &Experiment::id);
    return found;
  }

  Result<void> each_run(const Experiment& experiment, const std::function<Result<void>(const Run&)>& take) override {
    return pages("runs/search",
                 {{"experiment_ids", json::Array{json::Value(experiment.id)}},
                  {"max_results", kPage},
                  {"run_view_type", "ALL"},
                  {"order_by", json::Array{"attributes.start_time ASC"}}},
                 "runs", [&](const json::Object& object) { return take(read_run(object)); });
  }

  Result<std::vector<Point>> curve(const Run& run, const std::string& key) override {
    std::vector<Point> points;
    std::string token;
    do {
      Query query{{"run_id", run.id}, {"metric_key", key}, {"max_results", std::to_string(kPointsPage)}};
      if (!token.empty()) query.emplace_back("page_token", token);
      const json::Value answer = TM_TRY(client_.get(path_of("metrics/get-history"), query));
      if (!answer.is_object()) break;
      for (const auto& item : array_of(answer.get_object(), "metrics")) {
        if (const auto* point = item.if_object()) points.push_back(TM_TRY(read_point(*point)));
      }
      token = text_of(answer.get_object(), "next_page_token");
    } while (!token.empty());
    settle(points);
    return points;
  }

  Result<std::vector<LoggedModel>> logged_models(const Experiment& experiment) override {
    std::vector<LoggedModel> found;
    TM_CHECK(pages("logged-models/search",
                   {{"experiment_ids", json::Array{json::Value(experiment.id)}}, {"max_results", kModelsPage}},
                   "models", [&](const json::Object& object) -> Result<void> {
                     found.push_back(TM_TRY(read_logged_model(object)));
                     return {};
                   }));
    return found;
  }

  // Prompts are registered models that searches leave out unless they are asked for.
  Result<std::vector<RegisteredModel>> registered_models() override {
    std::map<std::string, RegisteredModel> found;
    for (const char* filter : {"", "tags.`mlflow.prompt.is_prompt` = 'true'"}) {
      TM_CHECK(list("registered-models/search", {{"max_results", std::to_string(kRegistryPage)}, {"filter", filter}},
                    "registered_models", [&](const json::Object& object) {
                      auto model = read_registered_model(object);
                      found[model.name] = std::move(model);
                    }));
    }
    std::vector<RegisteredModel> models;
    for (auto& [name, model] : found) models.push_back(std::move(model));
    return models;
  }

  Result<std::vector<Version>> versions(const RegisteredModel& model) override {
    if (model.name.find('\'') != std::string::npos) {
      return fail(Code::kUnimplemented, "import.odd_name",
                  fmt::format("The versions of '{}' cannot be searched for.", model.name),
                  "Rename the model without the quote.");
    }
    std::vector<Version> found;
    TM_CHECK(list("model-versions/search",
                  {{"max_results", std::to_string(kRegistryPage)}, {"filter", fmt::format("name = '{}'", model.name)}},
                  "model_versions", [&](const json::Object& object) { found.push_back(read_version(object)); }));
    for (Version& version : found) {
      const auto answer = client_.get(path_of("model-versions/get-download-uri"),
                                      {{"name", version.model}, {"version", version.number}});
      if (answer && answer->is_object()) version.artefact_uri = text_of(answer->get_object(), "artifact_uri");
    }
    std::ranges::sort(found, {}, [](const Version& version) { return number_of_version(version); });
    return found;
  }

  Result<std::vector<File>> files(const std::string& uri) override {
    const auto own = own_path(uri);
    if (!own) {
      // A server that keeps its files on this very machine, without a proxy before them.
      const auto folder = local_folder(uri);
      std::error_code error;
      if (!folder || !std::filesystem::exists(*folder, error)) return unreachable(uri);
      return local_files(*folder);
    }
    if (auto answer = client_.get(path_of("imports/digests"), {{"path", *own}}); answer && answer->is_object()) {
      return with_digests(answer->get_object());
    }
    std::vector<File> found;
    TM_CHECK(walk(*own, "", 0, found));
    std::ranges::sort(found, {}, &File::path);
    return found;
  }

  Result<std::filesystem::path> fetch(const std::string& uri, const File& file,
                                      const std::filesystem::path& scratch) override {
    const auto own = own_path(uri);
    if (!own) {
      const auto folder = local_folder(uri);
      if (!folder) return unreachable(uri);
      return *folder / file.path;
    }
    const auto copy = scratch / ("fetched-" + sha256_hex(uri + "\n" + file.path).substr(0, 32));
    TM_CHECK(client_.download("/api/2.0/mlflow-artifacts/artifacts" + encoded_path(*own + "/" + file.path), copy));
    return copy;
  }

 private:
  // Posts a search until its last page and gives each item of `key` to `take`.
  Result<void> pages(std::string_view operation, json::Object body, std::string_view key,
                     const std::function<Result<void>(const json::Object&)>& take) {
    for (;;) {
      const json::Value answer = TM_TRY(client_.post(path_of(operation), body));
      if (!answer.is_object()) return {};
      for (const auto& item : array_of(answer.get_object(), key)) {
        if (const auto* object = item.if_object()) TM_CHECK(take(*object));
      }
      const std::string token = text_of(answer.get_object(), "next_page_token");
      if (token.empty()) return {};
      body["page_token"] = token;
    }
  }

  // The same for searches by GET.
  Result<void> list(std::string_view operation, const Query& query, std::string_view key,
                    const std::function<void(const json::Object&)>& take) {
    std::string token;
    do {
      Query page = query;
      if (!token.empty()) page.emplace_back("page_token", token);
      const json::Value answer = TM_TRY(client_.get(path_of(operation), page));
      if (!answer.is_object()) return {};
      for (const auto& item : array_of(answer.get_object(), key)) {
        if (const auto* object = item.if_object()) take(*object);
      }
      token = text_of(answer.get_object(), "next_page_token");
    } while (!token.empty());
    return {};
  }

  static std::vector<File> with_digests(const json::Object& answer) {
    std::vector<File> found;
    for (const auto& item : array_of(answer, "files")) {
      if (const auto* file = item.if_object()) {
        found.push_back({text_of(*file, "path"), static_cast<std::uint64_t>(integer_of(*file, "file_size").value_or(0)),
                         text_of(*file, "sha256")});
      }
    }
    return found;
  }

  Result<void> walk(const std::string& root, const std::string& folder, int depth, std::vector<File>& found) {
    if (depth > kDepthMax) {
      return fail(Code::kTooLarge, "import.too_deep", fmt::format("'{}/{}' is nested too deeply.", root, folder),
                  "Move these files up.");
    }
    const json::Value answer = TM_TRY(
        client_.get("/api/2.0/mlflow-artifacts/artifacts", {{"path", folder.empty() ? root : root + "/" + folder}}));
    if (!answer.is_object()) return {};
    for (const auto& item : array_of(answer.get_object(), "files")) {
      const auto* entry = item.if_object();
      if (entry == nullptr) continue;
      const std::string name = text_of(*entry, "path");
      const std::string path = folder.empty() ? name : folder + "/" + name;
      if (text_of(*entry, "is_dir") == "true") {
        TM_CHECK(walk(root, path, depth + 1, found));
      } else {
        found.push_back({path, static_cast<std::uint64_t>(integer_of(*entry, "file_size").value_or(0)), ""});
      }
    }
    return {};
  }

  Client& client_;
};

}  // namespace

// "mlflow-artifacts:/1/…" and "mlflow-artifacts://host:port/1/…" name the same place: this server's own store.
std::optional<std::string> own_path(std::string_view uri) {
  if (!uri.starts_with(kOwnScheme)) return std::nullopt;
  uri.remove_prefix(kOwnScheme.size());
  if (uri.starts_with("//")) {
    uri.remove_prefix(2);
    uri.remove_prefix(std::min(uri.find('/'), uri.size()));
  }
  while (uri.starts_with('/')) uri.remove_prefix(1);
  while (uri.ends_with('/')) uri.remove_suffix(1);
  return std::string(uri);
}

std::string encoded_path(std::string_view path) {
  std::string out;
  for (std::size_t from = 0; from <= path.size();) {
    const std::size_t slash = std::min(path.find('/', from), path.size());
    out += "/" + percent_encoded(path.substr(from, slash - from));
    from = slash + 1;
  }
  return out;
}

Result<std::optional<Run>> server_run(Client& client, const std::string& id) {
  const auto answer = client.get(path_of("runs/get"), {{"run_id", id}});
  if (!answer) {
    if (answer.error().code == Code::kNotFound) return std::optional<Run>();
    return std::unexpected(answer.error());
  }
  if (!answer->is_object()) return std::optional<Run>();
  return std::optional(read_run(object_of(answer->get_object(), "run")));
}

std::unique_ptr<Source> open_server(Client& client) { return std::make_unique<Server>(client); }

}  // namespace tidemill::cli::mlflow
