// MLflow's file store, mlruns/: a folder for each experiment and in it one for each run, with meta.yaml, and a file for
// each parameter, tag and curve. Names with slashes are folders.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "base/files.h"
#include "base/yaml.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli::mlflow {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kValueBytesMax = 4u << 20;
constexpr std::uint64_t kCurveBytesMax = 4ull << 30;
constexpr const char* kMeta = "meta.yaml";

Result<std::vector<fs::path>> folders_in(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  if (!fs::exists(folder, error)) return found;
  for (fs::directory_iterator at(folder, error); !error && at != fs::directory_iterator(); at.increment(error)) {
    if (at->symlink_status(error).type() == fs::file_type::directory) found.push_back(at->path());
  }
  if (error) {
    return fail(Code::kInternal, "import.unreadable",
                fmt::format("'{}' cannot be listed: {}.", folder.string(), error.message()), "See to its rights.");
  }
  std::ranges::sort(found);
  return found;
}

Result<json::Object> read_meta(const fs::path& folder) {
  const fs::path file = folder / kMeta;
  const auto text = TM_TRY(read_file(file, kValueBytesMax));
  auto value = TM_TRY(parse_yaml_as_text(text, file.string()));
  if (value.is_object()) return std::move(value.get_object());
  return fail(Code::kInvalidArgument, "import.bad_meta", fmt::format("'{}' holds no fields.", file.string()),
              "Restore it from a copy.");
}

bool has_meta(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / kMeta, error);
}

// Reads each file beneath a folder as the value of the key that its path spells.
Result<Pairs> read_pairs(const fs::path& folder) {
  Pairs pairs;
  for (const File& file : TM_TRY(local_files(folder))) {
    pairs[file.path] = TM_TRY(read_file(folder / file.path, kValueBytesMax));
  }
  return pairs;
}

std::unexpected<Error> bad_line(const fs::path& file, std::string_view line) {
  return fail(Code::kInvalidArgument, "import.bad_line",
              fmt::format("'{}' has the line '{}', which is no point of a curve.", file.string(), line.substr(0, 128)),
              "Correct or remove the line.");
}

// "time value step"; very old files leave the step out. Files of logged models add run, and data set name and digest.
Result<ModelMetric> read_line(const fs::path& file, const std::string& line) {
  std::istringstream words(line);
  std::string at;
  std::string value;
  std::string step;
  ModelMetric metric;
  words >> at >> value >> step >> metric.run >> metric.dataset_name >> metric.dataset_digest;
  const auto whole = [](const std::string& text, std::int64_t& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return !text.empty() && error == std::errc{} && end == text.data() + text.size();
  };
  const auto number = number_of(value);
  if (!number || !whole(at, metric.at_ms) || (!step.empty() && !whole(step, metric.step))) return bad_line(file, line);
  metric.value = *number;
  return metric;
}

Result<std::vector<ModelMetric>> read_curve(const fs::path& file) {
  std::istringstream text(TM_TRY(read_file(file, kCurveBytesMax)));
  std::vector<ModelMetric> points;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty()) points.push_back(TM_TRY(read_line(file, line)));
  }
  return points;
}

// Statuses stand in meta.yaml as the numbers of MLflow's protobuf, or as words.
std::string run_status(const std::string& text) {
  if (text == "1") return "RUNNING";
  if (text == "2") return "SCHEDULED";
  if (text == "3") return "FINISHED";
  if (text == "4") return "FAILED";
  if (text == "5") return "KILLED";
  return text;
}

std::string model_status(const std::string& text) {
  if (text == "1") return "LOGGED_MODEL_PENDING";
  if (text == "2") return "LOGGED_MODEL_READY";
  if (text == "3") return "LOGGED_MODEL_UPLOAD_FAILED";
  return text.empty() || text == "0" ? "LOGGED_MODEL_STATUS_UNSPECIFIED" : text;
}

// Folders are often moved: where the address in meta.yaml leads to nothing, the files lie beside it.
std::string settled_uri(const std::string& uri, const fs::path& beside) {
  const auto local = local_folder(uri);
  std::error_code error;
  if (uri.empty() || (local && !fs::exists(*local, error))) return beside.string();
  return uri;
}

class Folder final : public Source {
 public:
  explicit Folder(fs::path root) : root_(std::move(root)) {}

  Result<std::vector<Experiment>> experiments() override {
    std::vector<Experiment> found;
    for (const fs::path& place : {root_, root_ / ".trash"}) {
      for (const fs::path& folder : TM_TRY(folders_in(place))) {
        if (!has_meta(folder) || folder.filename() == "models") continue;
        const json::Object meta = TM_TRY(read_meta(folder));
        Experiment experiment{text_of(meta, "experiment_id"),
                              text_of(meta, "name"),
                              settled_uri(text_of(meta, "artifact_location"), folder),
                              text_of(meta, "lifecycle_stage") == "deleted",
                              integer_of(meta, "creation_time"),
                              TM_TRY(read_pairs(folder / "tags"))};
        folders_[experiment.id] = folder;
        found.push_back(std::move(experiment));
      }
    }
    std::ranges::sort(found, {}, &Experiment::id);
    return found;
  }

  Result<void> each_run(const Experiment& experiment, const std::function<Result<void>(const Run&)>& take) override {
    for (const fs::path& folder : TM_TRY(folders_in(folders_[experiment.id]))) {
      if (!has_meta(folder)) continue;
      const json::Object meta = TM_TRY(read_meta(folder));
      if (text_of(meta, "run_id").empty() && text_of(meta, "run_uuid").empty()) continue;
      TM_CHECK(take(TM_TRY(read_run(experiment, folder, meta))));
    }
    return {};
  }

  Result<std::vector<Point>> curve(const Run& run, const std::string& key) override {
    std::vector<Point> points;
    const fs::path file = folders_[run.experiment] / run.id / "metrics" / key;
    for (const ModelMetric& metric : TM_TRY(read_curve(file))) points.push_back(metric);
    settle(points);
    return points;
  }

  Result<std::vector<LoggedModel>> logged_models(const Experiment& experiment) override {
    std::vector<LoggedModel> found;
    for (const fs::path& folder : TM_TRY(folders_in(folders_[experiment.id] / "models"))) {
      if (has_meta(folder)) found.push_back(TM_TRY(read_logged_model(experiment, folder)));
    }
    return found;
  }

  Result<std::vector<RegisteredModel>> registered_models() override {
    std::vector<RegisteredModel> found;
    for (const fs::path& folder : TM_TRY(folders_in(root_ / "models"))) {
      if (!has_meta(folder)) continue;
      const json::Object meta = TM_TRY(read_meta(folder));
      RegisteredModel model{text_of(meta, "name"),
                            text_of(meta, "description"),
                            integer_of(meta, "creation_timestamp"),
                            TM_TRY(read_pairs(folder / "tags")),
                            {}};
      for (auto& [alias, number] : TM_TRY(read_pairs(folder / "aliases"))) model.aliases[alias] = number;
      folders_["models/" + model.name] = folder;
      found.push_back(std::move(model));
    }
    return found;
  }

  Result<std::vector<Version>> versions(const RegisteredModel& model) override {
    std::vector<Version> found;
    for (const fs::path& folder : TM_TRY(folders_in(folders_["models/" + model.name]))) {
      if (!folder.filename().string().starts_with("version-") || !has_meta(folder)) continue;
      const json::Object meta = TM_TRY(read_meta(folder));
      if (text_of(meta, "current_stage") == "Deleted_Internal") continue;
      Version version;
      version.model = model.name;
      version.number = text_of(meta, "version");
      version.description = text_of(meta, "description");
      version.stage = text_of(meta, "current_stage");
      version.source = text_of(meta, "source");
      version.artefact_uri = text_of(meta, "storage_location");
      version.run = text_of(meta, "run_id");
      version.run_link = text_of(meta, "run_link");
      version.logged_model = text_of(meta, "model_id");
      version.made_ms = integer_of(meta, "creation_timestamp");
      version.tags = TM_TRY(read_pairs(folder / "tags"));
      found.push_back(std::move(version));
    }
    std::ranges::sort(found, {}, [](const Version& version) { return number_of_version(version); });
    return found;
  }

  Result<std::vector<File>> files(const std::string& uri) override {
    const auto folder = local_folder(uri);
    if (!folder) return unreachable(uri);
    return local_files(*folder);
  }

  Result<fs::path> fetch(const std::string& uri, const File& file, const fs::path&) override {
    const auto folder = local_folder(uri);
    if (!folder) return unreachable(uri);
    return *folder / file.path;
  }

 private:
  Result<Run> read_run(const Experiment& experiment, const fs::path& folder, const json::Object& meta) {
    Run run;
    run.id = folder.filename().string();
    run.experiment = experiment.id;
    run.name = text_of(meta, "run_name");
    run.person = text_of(meta, "user_id");
    run.status = run_status(text_of(meta, "status"));
    run.deleted = text_of(meta, "lifecycle_stage") == "deleted";
    run.start_ms = integer_of(meta, "start_time");
    run.end_ms = integer_of(meta, "end_time");
    run.artefact_uri = settled_uri(text_of(meta, "artifact_uri"), folder / "artifacts");
    run.params = TM_TRY(read_pairs(folder / "params"));
    run.tags = TM_TRY(read_pairs(folder / "tags"));
    if (const auto named = run.tags.find("mlflow.runName"); run.name.empty() && named != run.tags.end()) {
      run.name = named->second;
    }
    for (const File& file : TM_TRY(local_files(folder / "metrics"))) run.metrics.push_back(file.path);
    TM_CHECK(read_inputs(experiment, folder, run));
    for (const fs::path& output : TM_TRY(folders_in(folder / "outputs"))) {
      if (!has_meta(output)) continue;
      const json::Object link = TM_TRY(read_meta(output));
      run.output_models[output.filename().string()] = integer_of(link, "step").value_or(0);
    }
    return run;
  }

  Result<void> read_inputs(const Experiment& experiment, const fs::path& folder, Run& run) {
    for (const fs::path& input : TM_TRY(folders_in(folder / "inputs"))) {
      if (!has_meta(input)) continue;
      const json::Object link = TM_TRY(read_meta(input));
      if (text_of(link, "source_type") == "MODEL") {
        run.input_models[text_of(link, "source_id")] = 0;
        continue;
      }
      const auto place = path_beneath(folders_[experiment.id] / "datasets", text_of(link, "source_id"));
      if (!place) return std::unexpected(place.error());
      const json::Object meta = TM_TRY(read_meta(*place));
      Dataset dataset{text_of(meta, "name"),
                      text_of(meta, "digest"),
                      text_of(meta, "source_type"),
                      text_of(meta, "source"),
                      text_of(meta, "schema"),
                      text_of(meta, "profile"),
                      {}};
      for (const auto& tag : object_of(link, "tags")) {
        dataset.tags[tag.key()] = text_of(object_of(link, "tags"), tag.key());
      }
      run.inputs.push_back(std::move(dataset));
    }
    std::ranges::sort(run.inputs);
    return {};
  }

  static Result<LoggedModel> read_logged_model(const Experiment& experiment, const fs::path& folder) {
    const json::Object meta = TM_TRY(read_meta(folder));
    LoggedModel model;
    model.id = folder.filename().string();
    model.experiment = experiment.id;
    model.name = text_of(meta, "name");
    model.type = text_of(meta, "model_type");
    model.source_run = text_of(meta, "source_run_id");
    model.status = model_status(text_of(meta, "status"));
    model.deleted = text_of(meta, "lifecycle_stage") == "deleted";
    model.artefact_uri = settled_uri(text_of(meta, "artifact_location"), folder / "artifacts");
    model.made_ms = integer_of(meta, "creation_timestamp");
    model.params = TM_TRY(read_pairs(folder / "params"));
    model.tags = TM_TRY(read_pairs(folder / "tags"));
    for (const File& file : TM_TRY(local_files(folder / "metrics"))) {
      for (ModelMetric& metric : TM_TRY(read_curve(folder / "metrics" / file.path))) {
        metric.key = file.path;
        model.metrics.push_back(std::move(metric));
      }
    }
    return model;
  }

  const fs::path root_;
  std::map<std::string, fs::path> folders_;  // of experiments by id, of registered models by "models/<name>"
};

}  // namespace

Result<std::unique_ptr<Source>> open_folder(const fs::path& folder) {
  std::error_code error;
  bool looks_right = has_meta(folder / "0") || fs::is_directory(folder / "models", error);
  for (const fs::path& inner : TM_TRY(folders_in(folder))) looks_right = looks_right || has_meta(inner);
  if (looks_right) return std::make_unique<Folder>(folder);
  return fail(Code::kInvalidArgument, "import.not_mlruns",
              fmt::format("'{}' is no folder of MLflow: nothing in it has a meta.yaml.", folder.string()),
              "Name the folder 'mlruns' itself.");
}

}  // namespace tidemill::cli::mlflow
