#include "server/config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

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

// Prints "http.io_threads=2" for every setting, in the form that --set takes.
void print_settings() {
  const json::Value rooms = json::to_json(Settings{});
  for (const auto& room : rooms.as_object()) {
    for (const auto& setting : room.value().as_object()) {
      fmt::print("{}.{}={}\n", std::string_view(room.key()), std::string_view(setting.key()),
                 json::serialize(setting.value()));
    }
  }
}

// What is wrong with the text of a port, or "".
std::string port_fault(const std::string& text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error == std::errc{} && end == text.data() + text.size()) return "";
  return fmt::format("'{}' is not a whole number from 0 to 65535.", text);
}

bool can_run(const std::filesystem::path& file) {
  std::error_code error;
  return std::filesystem::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0;
}

// Why steps could not run with this Python, or "": a name without a slash is looked for in PATH, as execvp does. Better
// said now than by the first step.
std::string python_fault(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return can_run(program) ? "" : fmt::format("'{}' is not a program that can be run.", program);
  }
  const char* path = std::getenv("PATH");
  std::string_view rest = path == nullptr ? "" : path;
  while (!rest.empty()) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    if (can_run(std::filesystem::path(rest.substr(0, colon)) / program)) return "";
    rest.remove_prefix(std::min(colon + 1, rest.size()));
  }
  return fmt::format("There is no program '{}' in PATH.", program);
}

// What the flags say, before it is checked.
struct Flags {
  Config config;
  std::string data;
  std::string libraries;
  std::string file;
  std::vector<std::string> assignments;
  bool settings = false;
};

void add_flags(CLI::App& app, Flags& flags) {
  Config& config = flags.config;
  app.add_option("--data", flags.data, "Folder that holds everything; made with mode 0700");
  app.add_option("--blobs", config.blobs, "Keep artefacts, data and models in a bucket: s3://BUCKET/PREFIX");
  app.add_option("--host", config.host, "Address to listen at (127.0.0.1); any but a loopback address needs accounts");
  app.add_option("--port", config.port, "Port (7070); 0 takes a free one")->check(&port_fault, "PORT");
  app.add_option("--name", config.names, "A further host name that this server answers to")->expected(1)->take_all();
  app.add_flag("--anonymous-read", config.anonymous_read, "On loopback, let whoever does not sign in read");
  app.add_option("--python", config.python, "The Python that steps run with (python3)")
      ->check(&python_fault, "PROGRAM");
  app.add_option("--steps-sandbox", config.steps_sandbox,
                 "Shut steps off from the data folder: auto (where this machine can), required or off")
      ->check(CLI::IsMember({"auto", "required", "off"}));
  app.add_option("--libraries", flags.libraries, "Folder of libduckdb.so and libonnxruntime.so");
  app.add_option("--log-level", config.log_level, "debug, info, warn or error")
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  app.add_option("--config", flags.file, "JSON file with settings by room");
  app.add_option("--set", flags.assignments, "One setting, ROOM.NAME=VALUE")->expected(1)->take_all();
  app.add_flag("--settings", flags.settings, "Print every setting with its default, and end");
}

// An error names the file beside the place in it.
Result<Settings> read_settings_file(const std::string& file) {
  auto settings = json::decode<Settings>(TM_TRY(read_file(file, kConfigBytesMax)));
  if (settings) return settings;
  Error error = std::move(settings).error();
  error.message = fmt::format("The settings in '{}': {}", file, error.message);
  return fail(std::move(error));
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
                "See 'tidemill server --settings'.");
  }
  options->get_object()[assignment.substr(dot + 1, equals - dot - 1)] = parsed_value(assignment.substr(equals + 1));
  return json::from_json<Settings>(all);
}

Result<Settings> read_settings(const std::string& file, const std::vector<std::string>& assignments) {
  Settings settings;
  if (!file.empty()) settings = TM_TRY(read_settings_file(file));
  for (const auto& assignment : assignments) settings = TM_TRY(with_setting(settings, assignment));
  return settings;
}

Result<Config> parse_arguments(int argc, char** argv, bool* help) {
  Flags flags;
  CLI::App app(kAbout, "tidemill server");
  add_flags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    *help = true;
    app.exit(success);
    return Config();
  } catch (const CLI::ParseError& error) {
    return fail(Code::kInvalidArgument, "cli.usage", error.what(), "See 'tidemill server --help'.");
  }
  if (flags.settings) {
    *help = true;
    print_settings();
    return Config();
  }
  if (flags.data.empty()) {
    return fail(Code::kInvalidArgument, "cli.usage", "--data is required.", "See 'tidemill server --help'.");
  }
  Config config = std::move(flags.config);
  config.data = std::filesystem::absolute(flags.data);
  config.libraries = flags.libraries;
  config.settings = TM_TRY(read_settings(flags.file, flags.assignments));
  return config;
}

}  // namespace tidemill::server
