// MLflow's SQL store in an SQLite file. Columns that came with later versions of MLflow may be missing.
#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "base/files.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli::mlflow {
namespace {

constexpr int kBusyMs = 10'000;

constexpr const char* kExperiments =
    "SELECT experiment_id, name, artifact_location, lifecycle_stage, creation_time FROM experiments"
    " ORDER BY experiment_id";
constexpr const char* kExperimentTags = "SELECT key, value FROM experiment_tags WHERE experiment_id = ?1";
constexpr const char* kRuns =
    "SELECT run_uuid, name, user_id, status, lifecycle_stage, start_time, end_time, artifact_uri FROM runs"
    " WHERE experiment_id = ?1 ORDER BY start_time, run_uuid";
constexpr const char* kParams = "SELECT key, value FROM params WHERE run_uuid = ?1";
constexpr const char* kTags = "SELECT key, value FROM tags WHERE run_uuid = ?1";
constexpr const char* kMetricKeys = "SELECT DISTINCT key FROM metrics WHERE run_uuid = ?1 ORDER BY key";
constexpr const char* kCurve = "SELECT step, timestamp, value, is_nan FROM metrics WHERE run_uuid = ?1 AND key = ?2";
constexpr const char* kInputs =
    "SELECT i.input_uuid, d.name, d.digest, d.dataset_source_type, d.dataset_source, d.dataset_schema,"
    " d.dataset_profile FROM inputs i JOIN datasets d ON d.dataset_uuid = i.source_id"
    " WHERE i.source_type = 'DATASET' AND i.destination_type = 'RUN' AND i.destination_id = ?1";
constexpr const char* kInputTags = "SELECT name, value FROM input_tags WHERE input_uuid = ?1";
constexpr const char* kInputModels =
    "SELECT destination_id, step FROM inputs WHERE source_type = 'RUN_INPUT' AND destination_type = 'MODEL_INPUT'"
    " AND source_id = ?1";
constexpr const char* kOutputModels =
    "SELECT destination_id, step FROM inputs WHERE source_type = 'RUN_OUTPUT' AND destination_type = 'MODEL_OUTPUT'"
    " AND source_id = ?1";
constexpr const char* kLoggedModels =
    "SELECT model_id, name, model_type, source_run_id, status, lifecycle_stage, artifact_location,"
    " creation_timestamp_ms FROM logged_models WHERE experiment_id = ?1 ORDER BY creation_timestamp_ms, model_id";
constexpr const char* kLoggedModelParams = "SELECT param_key, param_value FROM logged_model_params WHERE model_id = ?1";
constexpr const char* kLoggedModelTags = "SELECT tag_key, tag_value FROM logged_model_tags WHERE model_id = ?1";
constexpr const char* kLoggedModelMetrics =
    "SELECT metric_name, metric_step, metric_timestamp_ms, metric_value, run_id, dataset_name, dataset_digest"
    " FROM logged_model_metrics WHERE model_id = ?1";
constexpr const char* kModels = "SELECT name, description, creation_time FROM registered_models ORDER BY name";
constexpr const char* kModelTags = "SELECT key, value FROM registered_model_tags WHERE name = ?1";
constexpr const char* kAliases = "SELECT alias, version FROM registered_model_aliases WHERE name = ?1";
constexpr const char* kVersions =
    "SELECT version, description, current_stage, source, run_id, run_link, creation_time, storage_location"
    " FROM model_versions WHERE name = ?1 AND current_stage <> 'Deleted_Internal' ORDER BY version";
constexpr const char* kVersionTags = "SELECT key, value FROM model_version_tags WHERE name = ?1 AND version = ?2";
constexpr const char* kTables = "SELECT name FROM sqlite_master WHERE type = 'table'";

struct CloseDatabase {
  void operator()(sqlite3* handle) const { sqlite3_close(handle); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

// The row that a statement stands on.
class Row {
 public:
  explicit Row(sqlite3_stmt* statement) : statement_(statement) {}

  [[nodiscard]] std::string text(int column) const {
    const auto* bytes = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
    return bytes == nullptr ? std::string()
                            : std::string(bytes, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
  }
  [[nodiscard]] std::int64_t integer(int column) const { return sqlite3_column_int64(statement_, column); }
  [[nodiscard]] std::optional<std::int64_t> maybe_integer(int column) const {
    if (is_null(column)) return std::nullopt;
    return integer(column);
  }
  [[nodiscard]] bool is_null(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  [[nodiscard]] double number(int column) const { return sqlite3_column_double(statement_, column); }

 private:
  sqlite3_stmt* const statement_;
};

std::string model_status(std::int64_t number) {
  if (number == 1) return "LOGGED_MODEL_PENDING";
  if (number == 2) return "LOGGED_MODEL_READY";
  if (number == 3) return "LOGGED_MODEL_UPLOAD_FAILED";
  return "LOGGED_MODEL_STATUS_UNSPECIFIED";
}

class Database final : public Source {
 public:
  Database(std::unique_ptr<sqlite3, CloseDatabase> handle, std::filesystem::path file, std::filesystem::path artefacts)
      : handle_(std::move(handle)), file_(std::move(file)), artefacts_(std::move(artefacts)) {}

  // Reads which tables there are; a file that is no database of MLflow is refused.
  Result<void> look() {
    TM_CHECK(each(kTables, {}, [&](const Row& row) { tables_.insert(row.text(0)); }));
    for (const char* table : {"experiments", "runs", "metrics", "params", "tags"}) {
      if (tables_.contains(table)) continue;
      return fail(Code::kInvalidArgument, "import.not_mlflow_db",
                  fmt::format("'{}' has no table '{}': it is no database of MLflow.", file_.string(), table),
                  "Name the file that 'mlflow server --backend-store-uri sqlite:///FILE' uses.");
    }
    return {};
  }

  Result<std::vector<Experiment>> experiments() override {
    std::vector<Experiment> found;
    TM_CHECK(each(kExperiments, {}, [&](const Row& row) {
      found.push_back({row.text(0), row.text(1), row.text(2), row.text(3) == "deleted", row.maybe_integer(4), {}});
    }));
    for (Experiment& experiment : found)
      experiment.tags = TM_TRY(pairs("experiment_tags", kExperimentTags, {experiment.id}));
    return found;
  }

  Result<void> each_run(const Experiment& experiment, const std::function<Result<void>(const Run&)>& take) override {
    std::vector<Run> found;
    TM_CHECK(each(kRuns, {experiment.id}, [&](const Row& row) {
      Run run;
      run.id = row.text(0);
      run.experiment = experiment.id;
      run.name = row.text(1);
      run.person = row.text(2);
      run.status = row.text(3);
      run.deleted = row.text(4) == "deleted";
      run.start_ms = row.maybe_integer(5);
      run.end_ms = row.maybe_integer(6);
      run.artefact_uri = row.text(7);
      found.push_back(std::move(run));
    }));
    for (Run& run : found) {
      TM_CHECK(fill(run));
      TM_CHECK(take(run));
      run = Run{};
    }
    return {};
  }

  Result<std::vector<Point>> curve(const Run& run, const std::string& key) override {
    std::vector<Point> points;
    TM_CHECK(each(kCurve, {run.id, key}, [&](const Row& row) {
      const double value = row.integer(3) != 0 ? std::numeric_limits<double>::quiet_NaN() : row.number(2);
      points.push_back({row.integer(0), row.integer(1), value});
    }));
    settle(points);
    return points;
  }

  Result<std::vector<LoggedModel>> logged_models(const Experiment& experiment) override {
    std::vector<LoggedModel> found;
    if (!tables_.contains("logged_models")) return found;
    TM_CHECK(each(kLoggedModels, {experiment.id}, [&](const Row& row) {
      LoggedModel model;
      model.id = row.text(0);
      model.experiment = experiment.id;
      model.name = row.text(1);
      model.type = row.text(2);
      model.source_run = row.text(3);
      model.status = model_status(row.integer(4));
      model.deleted = row.text(5) == "deleted";
      model.artefact_uri = row.text(6);
      model.made_ms = row.maybe_integer(7);
      found.push_back(std::move(model));
    }));
    for (LoggedModel& model : found) {
      model.params = TM_TRY(pairs("logged_model_params", kLoggedModelParams, {model.id}));
      model.tags = TM_TRY(pairs("logged_model_tags", kLoggedModelTags, {model.id}));
      TM_CHECK(each(kLoggedModelMetrics, {model.id}, [&](const Row& row) {
        ModelMetric metric;
        metric.key = row.text(0);
        metric.step = row.integer(1);
        metric.at_ms = row.integer(2);
        metric.value = row.is_null(3) ? std::numeric_limits<double>::quiet_NaN() : row.number(3);
        metric.run = row.text(4);
        metric.dataset_name = row.text(5);
        metric.dataset_digest = row.text(6);
        model.metrics.push_back(std::move(metric));
      }));
    }
    return found;
  }

  Result<std::vector<RegisteredModel>> registered_models() override {
    std::vector<RegisteredModel> found;
    if (!tables_.contains("registered_models")) return found;
    TM_CHECK(each(kModels, {}, [&](const Row& row) {
      found.push_back({row.text(0), row.text(1), row.maybe_integer(2), {}, {}});
    }));
    for (RegisteredModel& model : found) {
      model.tags = TM_TRY(pairs("registered_model_tags", kModelTags, {model.name}));
      model.aliases = TM_TRY(pairs("registered_model_aliases", kAliases, {model.name}));
    }
    return found;
  }

  Result<std::vector<Version>> versions(const RegisteredModel& model) override {
    std::vector<Version> found;
    TM_CHECK(each(kVersions, {model.name}, [&](const Row& row) {
      Version version;
      version.model = model.name;
      version.number = row.text(0);
      version.description = row.text(1);
      version.stage = row.text(2);
      version.source = row.text(3);
      version.run = row.text(4);
      version.run_link = row.text(5);
      version.made_ms = row.maybe_integer(6);
      version.artefact_uri = row.text(7);
      constexpr std::string_view kLoggedModel = "models:/m-";
      if (version.source.starts_with(kLoggedModel)) version.logged_model = version.source.substr(8);
      found.push_back(std::move(version));
    }));
    for (Version& version : found) {
      version.tags = TM_TRY(pairs("model_version_tags", kVersionTags, {model.name, version.number}));
    }
    return found;
  }

  Result<std::vector<File>> files(const std::string& uri) override { return local_files(TM_TRY(place_of(uri))); }

  Result<std::filesystem::path> fetch(const std::string& uri, const File& file, const std::filesystem::path&) override {
    return TM_TRY(place_of(uri)) / file.path;
  }

 private:
  Result<std::filesystem::path> place_of(const std::string& uri) const {
    if (const auto own = own_path(uri)) {
      if (artefacts_.empty()) return unreachable(uri);
      return path_beneath(artefacts_, *own);
    }
    const auto folder = local_folder(uri);
    if (!folder) return unreachable(uri);
    return folder->is_absolute() ? *folder : file_.parent_path() / *folder;
  }

  Result<void> fill(Run& run) {
    run.params = TM_TRY(pairs("params", kParams, {run.id}));
    run.tags = TM_TRY(pairs("tags", kTags, {run.id}));
    TM_CHECK(each(kMetricKeys, {run.id}, [&](const Row& row) { run.metrics.push_back(row.text(0)); }));
    if (!tables_.contains("inputs")) return {};
    std::vector<std::string> inputs;
    TM_CHECK(each(kInputs, {run.id}, [&](const Row& row) {
      inputs.push_back(row.text(0));
      run.inputs.push_back({row.text(1), row.text(2), row.text(3), row.text(4), row.text(5), row.text(6), {}});
    }));
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      run.inputs[i].tags = TM_TRY(pairs("input_tags", kInputTags, {inputs[i]}));
    }
    std::ranges::sort(run.inputs);
    if (!tables_.contains("logged_models")) return {};
    TM_CHECK(each(kInputModels, {run.id}, [&](const Row& row) { run.input_models[row.text(0)] = 0; }));
    return each(kOutputModels, {run.id}, [&](const Row& row) { run.output_models[row.text(0)] = row.integer(1); });
  }

  Result<Pairs> pairs(const std::string& table, const char* query, const std::vector<std::string>& values) {
    Pairs found;
    if (!tables_.contains(table)) return found;
    TM_CHECK(each(query, values, [&](const Row& row) { found[row.text(0)] = row.text(1); }));
    return found;
  }

  // Texts compare equal to integer columns: SQLite converts by the column's affinity.
  Result<void> each(const char* query, const std::vector<std::string>& values,
                    const std::function<void(const Row&)>& take) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(handle_.get(), query, -1, &raw, nullptr) != SQLITE_OK) return error();
    const std::unique_ptr<sqlite3_stmt, Finalize> statement(raw);
    for (std::size_t i = 0; i < values.size(); ++i) {
      sqlite3_bind_text(raw, static_cast<int>(i + 1), values[i].data(), static_cast<int>(values[i].size()),
                        SQLITE_TRANSIENT);
    }
    int code = sqlite3_step(raw);
    for (; code == SQLITE_ROW; code = sqlite3_step(raw)) take(Row(raw));
    if (code != SQLITE_DONE) return error();
    return {};
  }

  std::unexpected<Error> error() const {
    return fail(Code::kInternal, "import.unreadable",
                fmt::format("'{}' cannot be read: {}.", file_.string(), sqlite3_errmsg(handle_.get())),
                "Check it with 'sqlite3 FILE \"PRAGMA integrity_check\"'; a very old one needs 'mlflow db upgrade'.");
  }

  const std::unique_ptr<sqlite3, CloseDatabase> handle_;
  const std::filesystem::path file_;
  const std::filesystem::path artefacts_;
  std::set<std::string> tables_;
};

}  // namespace

Result<std::unique_ptr<Source>> open_database(const std::filesystem::path& file,
                                              const std::filesystem::path& artefacts) {
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(file.c_str(), &raw, SQLITE_OPEN_READONLY, nullptr);
  std::unique_ptr<sqlite3, CloseDatabase> handle(raw);
  if (code != SQLITE_OK) {
    return fail(Code::kNotFound, "import.no_such_file", fmt::format("'{}' cannot be opened.", file.string()),
                "Name MLflow's SQLite file.");
  }
  sqlite3_busy_timeout(raw, kBusyMs);
  auto database = std::make_unique<Database>(std::move(handle), file, artefacts);
  TM_CHECK(database->look());
  return database;
}

}  // namespace tidemill::cli::mlflow
