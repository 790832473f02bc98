#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>

namespace tidemill::log {
namespace {

spdlog::logger& logger() {
  static const auto instance = [] {
    auto made = std::make_shared<spdlog::logger>("tidemill", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %L %v", spdlog::pattern_time_type::utc);
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *instance;
}

std::string escaped(std::string_view value) {
  std::string text;
  bool quote = value.empty();
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      quote = quote || c == ' ' || c == '"' || c == '=';
      if (c == '"' || c == '\\') text.push_back('\\');
      text.push_back(c);
    }
  }
  return quote ? '"' + text + '"' : text;
}

void write(spdlog::level::level_enum level, std::string_view room, std::string_view message, Fields fields) {
  if (!logger().should_log(level)) return;
  std::string line = fmt::format("{}: {}", room, message);
  for (const auto& [key, value] : fields) line += fmt::format(" {}={}", key, escaped(value));
  logger().log(level, "{}", line);
}

}  // namespace

void debug(std::string_view room, std::string_view message, Fields fields) {
  write(spdlog::level::debug, room, message, fields);
}
void info(std::string_view room, std::string_view message, Fields fields) {
  write(spdlog::level::info, room, message, fields);
}
void warn(std::string_view room, std::string_view message, Fields fields) {
  write(spdlog::level::warn, room, message, fields);
}
void error(std::string_view room, std::string_view message, Fields fields) {
  write(spdlog::level::err, room, message, fields);
}

void set_level(std::string_view level) {
  if (level == "debug") logger().set_level(spdlog::level::debug);
  if (level == "info") logger().set_level(spdlog::level::info);
  if (level == "warn") logger().set_level(spdlog::level::warn);
  if (level == "error") logger().set_level(spdlog::level::err);
}

}  // namespace tidemill::log
