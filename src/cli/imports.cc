// `tidemill import` and `tidemill export`: what other tools keep.
#include <fmt/format.h>

#include <cstdlib>

#include "base/files.h"
#include "cli/command.h"
#include "cli/mlflow_export.h"
#include "cli/mlflow_import.h"
#include "cli/mlflow_ledger.h"
#include "cli/mlflow_source.h"

namespace tidemill::cli {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

bool is_url(std::string_view source) { return source.starts_with("http://") || source.starts_with("https://"); }

// Signs in as MLflow's own client does.
std::unique_ptr<Client> server_of(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  if (const std::string name = environment("MLFLOW_TRACKING_USERNAME"); !name.empty()) {
    return std::make_unique<Client>(url, name, environment("MLFLOW_TRACKING_PASSWORD"));
  }
  return std::make_unique<Client>(url, environment("MLFLOW_TRACKING_TOKEN"));
}

// Where `mlflow server` keeps artefacts unless it is told otherwise.
std::filesystem::path artefacts_of(const Call& call, const std::filesystem::path& database) {
  if (call.has("--artifacts")) return call.get("--artifacts");
  const auto beside = std::filesystem::absolute(database).parent_path() / "mlartifacts";
  std::error_code error;
  return std::filesystem::is_directory(beside, error) ? beside : std::filesystem::path();
}

Result<std::unique_ptr<mlflow::Source>> open_source(const Call& call, const std::string& name, Client& server) {
  if (is_url(name)) return mlflow::open_server(server);
  constexpr std::string_view kSqlite = "sqlite:///";
  const std::filesystem::path path(name.starts_with(kSqlite) ? name.substr(kSqlite.size()) : name);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return mlflow::open_folder(std::filesystem::absolute(path));
  return mlflow::open_database(std::filesystem::absolute(path), artefacts_of(call, path));
}

Result<int> import_mlflow(Call& call) {
  const std::string name = call.get("SOURCE");
  const auto server = server_of(name);
  const auto source = TM_TRY(open_source(call, name, *server));
  const auto scratch = TM_TRY(TemporaryFolder::create());
  mlflow::Ledger ledger(call);
  mlflow::Importer importer(*source, call.client(), ledger, scratch.path());
  TM_CHECK(importer.run());
  return ledger.finish("import");
}

Result<int> export_mlflow(Call& call) {
  const auto source = mlflow::open_server(call.client());
  mlflow::Ledger ledger(call);
  TM_CHECK(mlflow::export_folder(*source, std::filesystem::absolute(call.get("DIR")), ledger));
  return ledger.finish("export");
}

}  // namespace

std::vector<Verb> imports_verbs() {
  return {
      {"import",
       "mlflow",
       "Take over experiments, runs, models and files of MLflow; start it again to go on or catch up",
       {"tidemill import mlflow ./mlruns", "tidemill import mlflow mlflow.db --artifacts ./mlartifacts",
        "tidemill import mlflow http://mlflow.example:5000"},
       {{"SOURCE", "A folder mlruns/, an SQLite file, or the URL of a server", true},
        {"--artifacts", "Where the server of an SQLite file keeps artefacts; 'mlartifacts' beside it if not given"}},
       import_mlflow},
      {"export",
       "mlflow",
       "Write everything as a folder that MLflow reads",
       {"tidemill export mlflow ./mlruns"},
       {{"DIR", "The folder; files that it has already stay as they are when they are equal", true}},
       export_mlflow},
  };
}

}  // namespace tidemill::cli
