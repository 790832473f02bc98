#include "cli/mlflow_export.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cmath>
#include <fstream>
#include <utility>

#include "base/files.h"
#include "base/hash.h"

namespace tidemill::cli::mlflow {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMeta = "meta.yaml";

json::Value or_null(const std::string& text) { return text.empty() ? json::Value(nullptr) : json::Value(text); }

json::Value or_null(std::optional<std::int64_t> number) { return number ? json::Value(*number) : json::Value(nullptr); }

// MLflow names the folder of a data set by the MD5 of its name and digest; any name would do, as this is how it finds
// the data set again when it is logged once more.
std::string md5_hex(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned bytes = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &bytes, EVP_md5(), nullptr);
  return to_hex(std::string_view(reinterpret_cast<const char*>(digest.data()), bytes));
}

// As Python spells a float, so that float() reads the same bits.
std::string number_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return fmt::format("{}", value);
}

std::int64_t status_number(const std::string& status) {
  if (status == "RUNNING") return 1;
  if (status == "SCHEDULED") return 2;
  if (status == "FINISHED" || status == "LOGGED_MODEL_UPLOAD_FAILED") return 3;
  if (status == "FAILED") return 4;
  return 5;
}

std::int64_t model_status_number(const std::string& status) {
  if (status == "LOGGED_MODEL_PENDING") return 1;
  if (status == "LOGGED_MODEL_READY") return 2;
  return status == "LOGGED_MODEL_UPLOAD_FAILED" ? 3 : 0;
}

Result<void> write_text(const fs::path& file, std::string_view text) {
  TM_CHECK(make_folder(file.parent_path()));
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream.write(text.data(), static_cast<std::streamsize>(text.size()));
  stream.flush();
  if (stream) return {};
  return fail(Code::kExhausted, "export.unwritable", fmt::format("'{}' cannot be written.", file.string()),
              "Make room, or choose another folder.");
}

// YAML takes JSON's scalars as they are, so nothing in a value can be read as syntax.
Result<void> write_meta(const fs::path& folder, const json::Object& fields) {
  std::string text;
  for (const auto& field : fields)
    text += fmt::format("{}: {}\n", std::string_view(field.key()), json::serialize(field.value()));
  return write_text(folder / kMeta, text);
}

void add(Sha256& hash, std::string_view text) { hash.update(fmt::format("{}:{}\n", text.size(), text)); }

void add(Sha256& hash, const Pairs& pairs) {
  add(hash, std::to_string(pairs.size()));
  for (const auto& [key, value] : pairs) {
    add(hash, key);
    add(hash, value);
  }
}

// Returns one digest over all that is known of a run, its curves from `source` included: equal for equal runs. The
// addresses of files are left out, as they are others on purpose.
Result<std::string> digest_of(Source& source, const Run& run) {
  Sha256 hash;
  for (const std::string* text : {&run.id, &run.experiment, &run.name, &run.person, &run.status}) add(hash, *text);
  add(hash, fmt::format("{} {} {}", run.deleted, run.start_ms.value_or(-1), run.end_ms.value_or(-1)));
  add(hash, run.params);
  add(hash, run.tags);
  for (const std::string& key : run.metrics) {
    add(hash, key);
    for (const Point& point : TM_TRY(source.curve(run, key))) {
      hash.update(fmt::format("{} {} {:a}\n", point.step, point.at_ms, point.value));
    }
  }
  for (const Dataset& input : run.inputs) {
    for (const std::string* text :
         {&input.name, &input.digest, &input.source_type, &input.source, &input.schema, &input.profile}) {
      add(hash, *text);
    }
    add(hash, input.tags);
  }
  for (const auto& [id, step] : run.input_models) add(hash, "in " + id);
  for (const auto& [id, step] : run.output_models) add(hash, fmt::format("out {} {}", id, step));
  return to_hex(hash.finish());
}

class Exporter {
 public:
  Exporter(Source& source, fs::path root, Ledger& ledger) : source_(source), root_(std::move(root)), ledger_(ledger) {}

  Result<void> run() {
    TM_CHECK(make_folder(root_));
    for (const Experiment& experiment : TM_TRY(source_.experiments())) {
      ++ledger_["experiments"].read;
      TM_CHECK(write_experiment(experiment));
      ++ledger_["experiments"].written;
    }
    for (const RegisteredModel& model : TM_TRY(source_.registered_models())) {
      ++ledger_["registered models"].read;
      TM_CHECK(ledger_.tolerate("registered models", model.name, write_registered_model(model)));
    }
    return verify();
  }

 private:
  // Reads the folder as MLflow would and compares every run with what was to be written.
  Result<void> verify() {
    const auto written = TM_TRY(open_folder(root_));
    for (const Experiment& experiment : TM_TRY(written->experiments())) {
      ++ledger_["experiments"].verified;
      TM_CHECK(written->each_run(experiment, [&](const Run& run) -> Result<void> {
        const auto expected = digests_.find(run.id);
        if (expected == digests_.end()) return {};  // of an earlier export
        if (expected->second == TM_TRY(digest_of(*written, run))) {
          ++ledger_["runs"].verified;
          digests_.erase(expected);
        }
        return {};
      }));
    }
    for (const auto& [id, digest] : digests_) ledger_.differ("runs", id, "It reads otherwise than it was written.");
    return {};
  }

  static std::string uri_of(const fs::path& folder) { return "file://" + encoded_path(folder.string()).substr(1); }

  Result<void> write_pairs(const fs::path& folder, const Pairs& pairs, const std::string& name) {
    TM_CHECK(make_folder(folder));
    for (const auto& [key, value] : pairs) {
      const auto file = path_beneath(folder, key);
      TM_CHECK(ledger_.tolerate("params and tags", name + " " + key,
                                file ? write_text(*file, value) : Result<void>(std::unexpected(file.error()))));
    }
    return {};
  }

  Result<void> write_experiment(const Experiment& experiment) {
    const fs::path folder = (experiment.deleted ? root_ / ".trash" : root_) / experiment.id;
    TM_CHECK(write_meta(folder, {{"artifact_location", uri_of(folder)},
                                 {"creation_time", or_null(experiment.made_ms)},
                                 {"experiment_id", experiment.id},
                                 {"last_update_time", or_null(experiment.made_ms)},
                                 {"lifecycle_stage", experiment.deleted ? "deleted" : "active"},
                                 {"name", experiment.name}}));
    TM_CHECK(write_pairs(folder / "tags", experiment.tags, experiment.name));
    for (const LoggedModel& model : TM_TRY(source_.logged_models(experiment))) {
      ++ledger_["logged models"].read;
      TM_CHECK(ledger_.tolerate("logged models", model.id, write_logged_model(model, folder / "models" / model.id)));
    }
    return source_.each_run(experiment, [&](const Run& run) -> Result<void> {
      ++ledger_["runs"].read;
      ledger_.progress();
      return ledger_.tolerate("runs", run.id, write_run(run, folder));
    });
  }

  Result<void> write_run(const Run& run, const fs::path& experiment) {
    const fs::path folder = experiment / run.id;
    folders_[run.artefact_uri] = folder / "artifacts";
    json::Object meta{{"artifact_uri", uri_of(folder / "artifacts")},
                      {"end_time", or_null(run.end_ms)},
                      {"entry_point_name", ""},
                      {"experiment_id", run.experiment},
                      {"lifecycle_stage", run.deleted ? "deleted" : "active"},
                      {"run_id", run.id},
                      {"run_name", run.name},
                      {"source_name", ""},
                      {"source_type", 4},
                      {"source_version", ""},
                      {"start_time", or_null(run.start_ms)},
                      {"status", status_number(run.status)},
                      {"tags", json::Array()},
                      {"user_id", run.person}};
    if (run.deleted) meta["deleted_time"] = or_null(run.end_ms);
    TM_CHECK(write_pairs(folder / "params", run.params, run.id));
    TM_CHECK(write_pairs(folder / "tags", run.tags, run.id));
    TM_CHECK(make_folder(folder / "metrics"));
    for (const std::string& key : run.metrics) {
      TM_CHECK(ledger_.tolerate("points", run.id + " " + key, write_curve(run, key, folder / "metrics")));
    }
    TM_CHECK(write_links(run, experiment, folder));
    TM_CHECK(write_files(run.id, run.artefact_uri, folder / "artifacts"));
    TM_CHECK(write_meta(folder, meta));  // last: a run without it is not seen by MLflow
    ++ledger_["runs"].written;
    digests_[run.id] = TM_TRY(digest_of(source_, run));
    return {};
  }

  Result<void> write_curve(const Run& run, const std::string& key, const fs::path& folder) {
    const fs::path file = TM_TRY(path_beneath(folder, key));
    std::string text;
    for (const Point& point : TM_TRY(source_.curve(run, key))) {
      text += fmt::format("{} {} {}\n", point.at_ms, number_text(point.value), point.step);
      ++ledger_["points"].read;
      ++ledger_["points"].written;
    }
    return write_text(file, text);
  }

  static Result<void> write_links(const Run& run, const fs::path& experiment, const fs::path& folder) {
    for (const Dataset& input : run.inputs) {
      const std::string id = md5_hex(input.name + input.digest);
      TM_CHECK(write_meta(experiment / "datasets" / id, {{"digest", input.digest},
                                                         {"name", input.name},
                                                         {"profile", or_null(input.profile)},
                                                         {"schema", or_null(input.schema)},
                                                         {"source", input.source},
                                                         {"source_type", input.source_type}}));
      json::Object tags;
      for (const auto& [key, value] : input.tags) tags[key] = value;
      TM_CHECK(write_meta(folder / "inputs" / md5_hex(id + run.id), {{"destination_id", run.id},
                                                                     {"destination_type", "RUN"},
                                                                     {"source_id", id},
                                                                     {"source_type", "DATASET"},
                                                                     {"tags", std::move(tags)}}));
    }
    for (const auto& [id, step] : run.input_models) {
      TM_CHECK(write_meta(folder / "inputs" / md5_hex(id + run.id), {{"destination_id", run.id},
                                                                     {"destination_type", "RUN"},
                                                                     {"source_id", id},
                                                                     {"source_type", "MODEL"},
                                                                     {"tags", json::Object()}}));
    }
    for (const auto& [id, step] : run.output_models) {
      TM_CHECK(write_meta(folder / "outputs" / id, {{"destination_id", id},
                                                    {"destination_type", "MODEL_OUTPUT"},
                                                    {"source_id", id},
                                                    {"source_type", "RUN_OUTPUT"},
                                                    {"step", step},
                                                    {"tags", json::Object()}}));
    }
    return {};
  }

  Result<void> write_logged_model(const LoggedModel& model, const fs::path& folder) {
    folders_[model.artefact_uri] = folder / "artifacts";
    TM_CHECK(write_pairs(folder / "params", model.params, model.id));
    TM_CHECK(write_pairs(folder / "tags", model.tags, model.id));
    TM_CHECK(make_folder(folder / "metrics"));
    std::map<std::string, std::string> curves;
    for (const ModelMetric& metric : model.metrics) {
      std::string line = fmt::format("{} {} {} {}", metric.at_ms, number_text(metric.value), metric.step, metric.run);
      if (!metric.dataset_name.empty()) line += fmt::format(" {} {}", metric.dataset_name, metric.dataset_digest);
      curves[metric.key] += line + "\n";
    }
    for (const auto& [key, text] : curves) {
      const auto file = path_beneath(folder / "metrics", key);
      TM_CHECK(ledger_.tolerate("logged models", model.id + " " + key,
                                file ? write_text(*file, text) : Result<void>(std::unexpected(file.error()))));
    }
    TM_CHECK(write_files(model.id, model.artefact_uri, folder / "artifacts"));
    TM_CHECK(write_meta(folder, {{"artifact_location", uri_of(folder / "artifacts")},
                                 {"creation_timestamp", or_null(model.made_ms)},
                                 {"experiment_id", model.experiment},
                                 {"last_updated_timestamp", or_null(model.made_ms)},
                                 {"model_id", model.id},
                                 {"model_type", or_null(model.type)},
                                 {"name", model.name},
                                 {"source_run_id", or_null(model.source_run)},
                                 {"status", model_status_number(model.status)},
                                 {"status_message", nullptr}}));
    ++ledger_["logged models"].written;
    return {};
  }

  Result<void> write_registered_model(const RegisteredModel& model) {
    const fs::path folder = TM_TRY(path_beneath(root_ / "models", model.name));
    json::Object aliases;
    for (const auto& [alias, number] : model.aliases) aliases[alias] = number;
    TM_CHECK(write_meta(folder, {{"aliases", aliases},
                                 {"creation_timestamp", or_null(model.made_ms)},
                                 {"description", or_null(model.description)},
                                 {"last_updated_timestamp", or_null(model.made_ms)},
                                 {"name", model.name}}));
    TM_CHECK(write_pairs(folder / "tags", model.tags, model.name));
    TM_CHECK(write_pairs(folder / "aliases", model.aliases, model.name));
    for (const Version& version : TM_TRY(source_.versions(model))) {
      ++ledger_["versions"].read;
      TM_CHECK(ledger_.tolerate("versions", model.name + " " + version.number, write_version(version, folder)));
    }
    ++ledger_["registered models"].written;
    return {};
  }

  Result<void> write_version(const Version& version, const fs::path& model) {
    const std::string place = version.artefact_uri.empty() ? version.source : version.artefact_uri;
    if (place.empty()) {
      return fail(Code::kUnimplemented, "export.no_source", "A pipeline made it: MLflow has no place for its files.",
                  "Carry it over with 'tidemill models export'.");
    }
    const std::string there = place_there(place);
    const bool own = own_path(version.source).has_value();
    json::Object meta{{"creation_timestamp", or_null(version.made_ms)},
                      {"current_stage", version.stage},
                      {"description", or_null(version.description)},
                      {"last_updated_timestamp", or_null(version.made_ms)},
                      {"name", version.model},
                      {"run_id", or_null(version.run)},
                      {"run_link", or_null(version.run_link)},
                      {"source", own ? there : version.source},
                      {"status", "READY"},
                      {"status_message", nullptr},
                      {"storage_location", there},
                      {"user_id", nullptr},
                      {"version", number_of_version(version)}};
    if (!version.logged_model.empty()) meta["model_id"] = version.logged_model;
    const fs::path folder = model / ("version-" + version.number);
    TM_CHECK(write_meta(folder, meta));
    TM_CHECK(write_pairs(folder / "tags", version.tags, version.model + " " + version.number));
    ++ledger_["versions"].written;
    return {};
  }

  // Where in the folder the files of an address lie now; the address itself when they were not brought over.
  [[nodiscard]] std::string place_there(const std::string& uri) {
    for (const auto& [from, folder] : folders_) {
      if (uri == from) return uri_of(folder);
      if (uri.starts_with(from + "/")) return uri_of(folder / uri.substr(from.size() + 1));
    }
    return uri;
  }

  Result<void> write_files(const std::string& name, const std::string& uri, const fs::path& folder) {
    TM_CHECK(make_folder(folder));
    const auto files = source_.files(uri);
    if (!files) return ledger_.tolerate("artefacts", name, std::unexpected(files.error()));
    for (const File& file : *files) {
      ++ledger_["artefacts"].read;
      ledger_.progress();
      TM_CHECK(ledger_.tolerate("artefacts", name + "/" + file.path, write_file(name, uri, file, folder)));
    }
    return {};
  }

  Result<void> write_file(const std::string& name, const std::string& uri, const File& file, const fs::path& folder) {
    const fs::path to = TM_TRY(path_beneath(folder, file.path));
    std::error_code error;
    if (fs::is_regular_file(to, error) && fs::file_size(to, error) == file.bytes && !file.sha256.empty() &&
        TM_TRY(file_sha256(to)) == file.sha256) {
      ++ledger_["artefacts"].same;
      ++ledger_["artefacts"].verified;
      return {};
    }
    TM_CHECK(make_folder(to.parent_path()));
    const fs::path from = TM_TRY(source_.fetch(uri, file, to.parent_path()));
    if (from.parent_path() == to.parent_path()) {
      fs::rename(from, to, error);
    } else {
      fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
    }
    if (error) {
      return fail(Code::kInternal, "export.unwritable",
                  fmt::format("'{}' cannot be written: {}.", to.string(), error.message()), "See to its folder.");
    }
    ++ledger_["artefacts"].written;
    if (file.sha256.empty() || TM_TRY(file_sha256(to)) == file.sha256) {
      ++ledger_["artefacts"].verified;
    } else {
      ledger_.differ("artefacts", name + "/" + file.path, "The SHA-256 of the file that was written is another.");
    }
    return {};
  }

  Source& source_;
  const fs::path root_;
  Ledger& ledger_;
  std::map<std::string, std::string> digests_;  // of the runs that were written, by id
  std::map<std::string, fs::path> folders_;     // of runs and logged models, by the address of their artefacts
};

}  // namespace

Result<void> export_folder(Source& source, const fs::path& folder, Ledger& ledger) {
  return Exporter(source, folder, ledger).run();
}

}  // namespace tidemill::cli::mlflow
