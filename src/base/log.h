// The server's own log: one line an entry on standard error, by spdlog. Never holds secrets or bodies.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace tidemill::log {

using Fields = std::initializer_list<std::pair<std::string_view, std::string>>;

// Each writes `room: message key=value …`; any thread. Values with spaces are quoted, control characters escaped.
void debug(std::string_view room, std::string_view message, Fields fields = {});
void info(std::string_view room, std::string_view message, Fields fields = {});
void warn(std::string_view room, std::string_view message, Fields fields = {});
void error(std::string_view room, std::string_view message, Fields fields = {});

// Sets the lowest level shown: "debug", "info", "warn" or "error"; others leave it. Default "info".
void set_level(std::string_view level);

}  // namespace tidemill::log
