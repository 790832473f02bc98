// What MLflow keeps, read from wherever it keeps it: a folder mlruns/, an SQLite file, or a server. Nothing here
// unpickles or runs anything: metadata is text, files are bytes.
#pragma once

#include <compare>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "cli/client.h"

namespace tidemill::cli::mlflow {

using Pairs = std::map<std::string, std::string>;

struct Experiment {
  std::string id;
  std::string name;
  std::string artefact_uri;
  bool deleted = false;
  std::optional<std::int64_t> made_ms;
  Pairs tags;
};

// Points order as curves do: by step, time and value, NaN being the largest value.
struct Point {
  std::int64_t step = 0;
  std::int64_t at_ms = 0;
  double value = 0;
};
[[nodiscard]] bool operator<(const Point& a, const Point& b);
[[nodiscard]] bool operator==(const Point& a, const Point& b);

// Sorts a curve and keeps each point once, as every store of MLflow but the folder does by itself.
void settle(std::vector<Point>& curve);

struct Dataset {
  std::string name;
  std::string digest;
  std::string source_type;
  std::string source;
  std::string schema;
  std::string profile;
  Pairs tags;  // of its use by the run
  auto operator<=>(const Dataset&) const = default;
};

struct Run {
  std::string id;
  std::string experiment;
  std::string name;
  std::string person;
  std::string status;  // RUNNING, SCHEDULED, FINISHED, FAILED or KILLED
  bool deleted = false;
  std::optional<std::int64_t> start_ms;
  std::optional<std::int64_t> end_ms;
  std::string artefact_uri;
  Pairs params;
  Pairs tags;
  std::vector<std::string> metrics;  // names of its curves
  std::vector<Dataset> inputs;
  std::map<std::string, std::int64_t> input_models;   // id of a logged model -> step
  std::map<std::string, std::int64_t> output_models;  // the same
};

struct ModelMetric : Point {
  std::string key;
  std::string run;
  std::string dataset_name;
  std::string dataset_digest;
};

struct LoggedModel {
  std::string id;
  std::string experiment;
  std::string name;
  std::string type;
  std::string source_run;
  std::string status;  // such as LOGGED_MODEL_READY
  bool deleted = false;
  std::string artefact_uri;
  std::optional<std::int64_t> made_ms;
  Pairs params;
  Pairs tags;
  std::vector<ModelMetric> metrics;  // a server tells the latest of each only
};

struct RegisteredModel {
  std::string name;
  std::string description;
  std::optional<std::int64_t> made_ms;
  Pairs tags;
  std::map<std::string, std::string> aliases;  // alias -> number of a version
};

struct Version {
  std::string model;
  std::string number;
  std::string description;
  std::string stage;
  std::string source;
  std::string artefact_uri;  // where its files lie, as far as that is told; "" = at `source`
  std::string run;
  std::string run_link;
  std::string logged_model;
  std::optional<std::int64_t> made_ms;
  Pairs tags;
};

// Returns 0 for what is no number.
[[nodiscard]] std::int64_t number_of_version(const Version& version);

struct File {
  std::string path;  // relative to the root that was listed
  std::uint64_t bytes = 0;
  std::string sha256;  // "" where the source does not tell
};

// One thread at a time. Errors name the file, row or address that cannot be read.
class Source {
 public:
  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  [[nodiscard]] virtual Result<std::vector<Experiment>> experiments() = 0;
  // Calls `take` for each run, deleted ones too; ends with its first error.
  [[nodiscard]] virtual Result<void> each_run(const Experiment& experiment,
                                              const std::function<Result<void>(const Run&)>& take) = 0;
  // The whole curve, settled.
  [[nodiscard]] virtual Result<std::vector<Point>> curve(const Run& run, const std::string& key) = 0;
  [[nodiscard]] virtual Result<std::vector<LoggedModel>> logged_models(const Experiment& experiment) = 0;
  [[nodiscard]] virtual Result<std::vector<RegisteredModel>> registered_models() = 0;
  [[nodiscard]] virtual Result<std::vector<Version>> versions(const RegisteredModel& model) = 0;

  // All files beneath an address, by path; empty when there is nothing. kUnimplemented, reason "import.unreachable",
  // for addresses that this source cannot read.
  [[nodiscard]] virtual Result<std::vector<File>> files(const std::string& uri) = 0;
  // Returns a local file with the content: the file itself, or a copy in `scratch`.
  [[nodiscard]] virtual Result<std::filesystem::path> fetch(const std::string& uri, const File& file,
                                                            const std::filesystem::path& scratch) = 0;
};

// `folder` is an mlruns/ folder, with the trash beneath it.
[[nodiscard]] Result<std::unique_ptr<Source>> open_folder(const std::filesystem::path& folder);
// `file` is MLflow's SQLite database, opened for reading only. Files at "mlflow-artifacts:" addresses are looked for in
// `artefacts`, the folder that the server was given as --artifacts-destination; relative ones beside the database.
[[nodiscard]] Result<std::unique_ptr<Source>> open_database(const std::filesystem::path& file,
                                                            const std::filesystem::path& artefacts);
// Returns the path in the server's own store that an "mlflow-artifacts:" address names, whatever host it names.
[[nodiscard]] std::optional<std::string> own_path(std::string_view uri);
// Returns "/a%20b/c" for "a b/c".
[[nodiscard]] std::string encoded_path(std::string_view path);
// Returns a run of a server, or nothing when it has none of this id.
[[nodiscard]] Result<std::optional<Run>> server_run(Client& client, const std::string& id);
// `client` must outlive the source. Works on Tidemill too, which speaks the same protocol.
[[nodiscard]] std::unique_ptr<Source> open_server(Client& client);

// --- files on this machine; for folders and databases ---

// Returns the folder that a path or a file: address names, or nothing when it leads elsewhere.
[[nodiscard]] std::optional<std::filesystem::path> local_folder(std::string_view uri);
// All regular files beneath it; symbolic links are refused. Empty when there is no such folder.
[[nodiscard]] Result<std::vector<File>> local_files(const std::filesystem::path& folder);
// Returns the SHA-256 of a file as 64 hex digits.
[[nodiscard]] Result<std::string> file_sha256(const std::filesystem::path& file);
[[nodiscard]] std::unexpected<Error> unreachable(std::string_view uri);

// --- reading JSON leniently, as MLflow's protocol and files want it ---

// Returns the text of a field, a number written out, or "" when it is absent or null.
[[nodiscard]] std::string text_of(const json::Object& object, std::string_view key);
[[nodiscard]] std::optional<std::int64_t> integer_of(const json::Object& object, std::string_view key);
// A number, or one of NaN, Infinity, -Infinity in any of Python's and protobuf's spellings.
[[nodiscard]] Result<double> number_of(std::string_view text);
// Returns the object of a field; an empty one when it is absent.
[[nodiscard]] const json::Object& object_of(const json::Object& object, std::string_view key);
[[nodiscard]] const json::Array& array_of(const json::Object& object, std::string_view key);

}  // namespace tidemill::cli::mlflow
