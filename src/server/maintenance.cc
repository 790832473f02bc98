#include "server/maintenance.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <optional>

#include "backup/backup.h"
#include "base/json.h"
#include "storage/blobs/inventory.h"

namespace tidemill::server {
namespace {

constexpr const char* kCheckAbout =
    "Read back everything that a data folder holds and name what is damaged. A server may be working in it.\n"
    "\n"
    "  tidemill check --data DIR [--blobs s3://BUCKET/PREFIX]\n"
    "  tidemill check --backup FILE.tar\n"
    "\n"
    "Exit code 1 when something is damaged.";
constexpr const char* kBackupAbout =
    "Copy everything that a data folder holds, while a server works in it.\n"
    "\n"
    "  tidemill backup --data DIR /backup/2024-05-01\n"
    "  tidemill backup --data DIR /backup/2024-05-01.tar\n"
    "\n"
    "The target must be new; a name that ends in .tar makes one file.";
constexpr const char* kRestoreAbout =
    "Make a data folder from a backup. Everything is verified first; nothing is written over.\n"
    "\n"
    "  tidemill restore /backup/2024-05-01.tar --data NEW";

struct Wanted {
  Config config;
  std::string data;
  std::string backup;  // the target or the source
  std::string file;    // of settings
  std::vector<std::string> assignments;
};

std::string sized(std::uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

int report(const Error& error) {
  fmt::print(stderr, "tidemill: {}\n", error.message);
  if (!error.remedy.empty()) fmt::print(stderr, "          {}\n", error.remedy);
  return 1;
}

void print(std::string_view what, const backup::Summary& summary) {
  fmt::print("{}: {} files, {}, {} events up to {}\n", what, summary.files, sized(summary.bytes), summary.events,
             summary.head_hash);
}

// Returns the store to read beside a server that may be running.
Result<std::unique_ptr<blobs::Inventory>> blobs_of(const Config& config, const Clock& clock) {
  if (!config.blobs.empty()) return blobs::Inventory::of_bucket(TM_TRY(bucket_of(config)), clock);
  return blobs::Inventory::of_folder(config.data / "blobs");
}

Result<int> check(const Wanted& wanted, const Clock& clock) {
  if (!wanted.backup.empty()) {
    print("sound", TM_TRY(backup::verify(wanted.backup)));
    return 0;
  }
  const auto store = TM_TRY(blobs_of(wanted.config, clock));
  const auto findings = TM_TRY(backup::check(wanted.config.data, *store));
  for (const auto& damage : findings.damages) fmt::print("DAMAGED  {}\n", damage.what);
  fmt::print("{}: {} chunks, {}, {} events up to {}\n", findings.damages.empty() ? "sound" : "checked", findings.chunks,
             sized(findings.bytes), findings.events, findings.head_hash);
  return findings.damages.empty() ? 0 : 1;
}

Result<int> run(std::string_view verb, const Wanted& wanted) {
  const SystemClock clock;
  const Config& config = wanted.config;
  if (verb == "check") return check(wanted, clock);
  if (verb == "backup") {
    const auto store = TM_TRY(blobs_of(config, clock));
    print("backed up", TM_TRY(backup::make(config.data, *store, wanted.backup, clock)));
    return 0;
  }
  std::unique_ptr<blobs::Inventory> bucket;
  if (!config.blobs.empty()) bucket = TM_TRY(blobs_of(config, clock));
  print("restored", TM_TRY(backup::restore(wanted.backup, config.data, bucket.get())));
  return 0;
}

void add_flags(CLI::App& app, std::string_view verb, Wanted& wanted) {
  CLI::Option* data = app.add_option("--data", wanted.data, "The folder of the server");
  if (verb == "check") {
    app.add_option("--backup", wanted.backup, "Check this backup instead")->excludes(data);
  } else {
    data->required();
    app.add_option(verb == "backup" ? "TARGET" : "BACKUP", wanted.backup, "A folder, or a file .tar")->required();
  }
  app.add_option("--blobs", wanted.config.blobs, "The bucket of its blobs, s3://BUCKET/PREFIX");
  app.add_option("--config", wanted.file, "JSON file with settings by room");
  app.add_option("--set", wanted.assignments, "One setting, ROOM.NAME=VALUE")->expected(1)->take_all();
}

const char* about(std::string_view verb) {
  return verb == "check" ? kCheckAbout : verb == "backup" ? kBackupAbout : kRestoreAbout;
}

}  // namespace

Result<blobs::S3Bucket> bucket_of(const Config& config) {
  return blobs::s3_bucket(config.blobs, config.settings.s3, [](const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

bool is_maintenance(std::string_view verb) { return verb == "check" || verb == "backup" || verb == "restore"; }

int run_maintenance(int argc, char** argv) {
  const std::string verb = argv[0];
  Wanted wanted;
  CLI::App app(about(verb), "tidemill " + verb);
  add_flags(app, verb, wanted);
  try {
    app.parse(argc, argv);
    if (wanted.data.empty() && wanted.backup.empty()) throw CLI::RequiredError("--data");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  auto settings = read_settings(wanted.file, wanted.assignments);
  if (!settings) return report(settings.error());
  wanted.config.settings = *std::move(settings);
  if (!wanted.data.empty()) wanted.config.data = std::filesystem::absolute(wanted.data);
  const auto code = run(verb, wanted);
  return code ? *code : report(code.error());
}

}  // namespace tidemill::server
