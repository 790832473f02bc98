// Takes over what a source holds. Nothing is written twice: what is there already, under the same id, is compared and
// completed, so an import that was interrupted, or whose source grew, is simply started again.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "cli/mlflow_ledger.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli::mlflow {

// A point and texts as MLflow's protocol spells them.
[[nodiscard]] json::Object point_json(const std::string& key, const Point& point);
[[nodiscard]] json::Array pairs_json(const Pairs& pairs);

// One import. One thread.
class Importer {
 public:
  // All must outlive this. `scratch` holds files on their way.
  Importer(Source& source, Client& client, Ledger& ledger, std::filesystem::path scratch)
      : source_(source), client_(client), ledger_(ledger), scratch_(std::move(scratch)), target_(open_server(client)) {}

  // Ends early when the source or the server is gone; what is wrong with single things is noted in the ledger.
  [[nodiscard]] Result<void> run();

 private:
  [[nodiscard]] Result<void> import_experiment(const Experiment& experiment);
  [[nodiscard]] Result<Experiment> experiment_there(const Experiment& experiment);
  [[nodiscard]] Result<void> import_content(const Experiment& from, const Experiment& to);

  [[nodiscard]] Result<void> import_logged_model(const LoggedModel& model, const Experiment& to,
                                                 const std::map<std::string, LoggedModel>& there);
  [[nodiscard]] Result<void> verify_logged_models(const std::vector<LoggedModel>& models, const Experiment& to);
  [[nodiscard]] Result<void> import_model_metrics(const LoggedModel& model, const LoggedModel* there);

  [[nodiscard]] Result<void> import_run(const Run& run, const Experiment& to);
  [[nodiscard]] Result<Run> run_there(const Run& run, const Experiment& to);
  [[nodiscard]] Result<void> log_pairs(const Run& run, const Run& there);
  [[nodiscard]] Result<void> log_curves(const Run& run, const Run& there);
  [[nodiscard]] Result<void> log_links(const Run& run, const Run& there);
  [[nodiscard]] Result<void> end_run(const Run& run, const Run& there);
  [[nodiscard]] Result<void> delete_runs();
  [[nodiscard]] Result<void> verify_run(const Run& run, const Experiment& to);

  [[nodiscard]] Result<void> import_registered_model(const RegisteredModel& model);
  [[nodiscard]] Result<void> import_versions(const RegisteredModel& model);
  [[nodiscard]] Result<void> add_version(const Version& version);
  [[nodiscard]] Result<void> settle_version(const Version& version, const Version& there);
  [[nodiscard]] Result<void> set_aliases(const RegisteredModel& model, const RegisteredModel& there);
  // Where the files of a version lie here: its own address, or the one that they have after they were brought over.
  [[nodiscard]] Result<std::string> source_here(const Version& version);

  // Brings the files beneath `from` to the folder `to` of our store, and compares them by their SHA-256.
  [[nodiscard]] Result<void> copy_files(const std::string& name, const std::string& from, const std::string& to);
  [[nodiscard]] Result<json::Value> post(std::string_view operation, const json::Object& body);
  // Takes the mark "deleted" off a run here before something is written to it; it is put on again at the end.
  [[nodiscard]] Result<void> make_writable(const Run& there);

  Source& source_;
  Client& client_;
  Ledger& ledger_;
  const std::filesystem::path scratch_;
  const std::unique_ptr<Source> target_;
  std::map<std::string, std::string> artefact_uris_;        // of runs at the source, by id
  std::map<std::string, std::string> artefact_uris_there_;  // of runs here, by id
  std::set<std::string> logged_models_;                     // that are here
  std::set<std::string> to_delete_;                         // runs that are deleted at the source and not yet here
  std::set<std::string> writable_;                          // runs that were restored for the time being
};

}  // namespace tidemill::cli::mlflow
