#include "server/config.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "base/files.h"
#include "base/json.h"

namespace tidemill::server {
namespace {

constexpr std::uint64_t kConfigBytesMax = 1u << 20;

constexpr const char* kAbout =
    "Start the platform on this machine: one process, one folder.\n"
    "\n"
    "  tidemill server --data ~/tidemill\n"
    "  tidemill server --data /var/lib/tidemill --host 0.0.0.0 --port 80 --name mill.example\n"
    "  tidemill server --data DIR --set http.worker_threads=64\n"
    "\n"
    "Prints one line with its address when it is ready. SIGTERM finishes what has begun, then ends.";

json::Value parsed_value(const std::string& text) {
  auto value = json::parse(text);
  return value ? *std::move(value) : json::Value(boost::json::string(text));
}

}  // namespace

bool Config::loopback() const {
  return host == "127.0.0.1" || host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<Settings> with_setting(const Settings& settings, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::size_t dot = assignment.find('.');
  if (equals == std::string::npos || dot == std::string::npos || dot > equals) {
    return fail(Code::kInvalidArgument, "config.bad_setting", fmt::format("'{}' is not ROOM.NAME=VALUE.", assignment),
                "Write --set http.worker_threads=64.");
  }
  json::Value all = json::to_json(settings);
  const std::string room = assignment.substr(0, dot);
  json::Value* options = all.get_object().if_contains(room);
  if (options == nullptr) {
    return fail(Code::kInvalidArgument, "config.unknown_room", fmt::format("No room '{}' has settings.", room),
                "See docs/operate/settings.md.");
  }
  options->get_object()[assignment.substr(dot + 1, equals - dot - 1)] = parsed_value(assignment.substr(equals + 1));
  return json::from_json<Settings>(all);
}

Result<Config> parse_arguments(int argc, char** argv, bool* help) {
  Config config;
  std::string data;
  std::string libraries;
  std::string file;
  std::vector<std::string> assignments;
  CLI::App app(kAbout, "tidemill server");
  app.add_option("--data", data, "Folder that holds everything; made with mode 0700")->required();
  app.add_option("--host", config.host, "Address to listen at (127.0.0.1); any but a loopback address needs accounts");
  app.add_option("--port", config.port, "Port (7070); 0 takes a free one");
  app.add_option("--name", config.names, "A further host name that this server answers to")->expected(1)->take_all();
  app.add_flag("--anonymous-read", config.anonymous_read, "On loopback, let whoever does not sign in read");
  app.add_option("--python", config.python, "The Python that steps run with (python3)");
  app.add_option("--libraries", libraries, "Folder of libduckdb.so and libonnxruntime.so");
  app.add_option("--log-level", config.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  app.add_option("--config", file, "JSON file with settings by room");
  app.add_option("--set", assignments, "One setting, ROOM.NAME=VALUE")->expected(1)->take_all();
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    *help = true;
    app.exit(success);
    return config;
  } catch (const CLI::ParseError& error) {
    return fail(Code::kInvalidArgument, "cli.usage", error.what(), "See 'tidemill server --help'.");
  }
  config.data = std::filesystem::absolute(data);
  config.libraries = libraries;
  if (!file.empty()) config.settings = TM_TRY(json::decode<Settings>(TM_TRY(read_file(file, kConfigBytesMax))));
  for (const auto& assignment : assignments) config.settings = TM_TRY(with_setting(config.settings, assignment));
  return config;
}

}  // namespace tidemill::server
