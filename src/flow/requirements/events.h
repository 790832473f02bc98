// Kinds of events that this room emits; the subject is "requirements/<name>/<revision>".
#pragma once

#include <string_view>

namespace tidemill::requirements::events_of {

constexpr std::string_view kCreated = "requirements.created";  // the whole requirement
constexpr std::string_view kRevised = "requirements.revised";  // the whole requirement and "before", what it supersedes
constexpr std::string_view kRetired = "requirements.retired";  // reason

}  // namespace tidemill::requirements::events_of
