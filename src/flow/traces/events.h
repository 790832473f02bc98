// Kinds of events that this room emits. Traces and spans are bulk and no events.
#pragma once

#include <string_view>

namespace tidemill::traces::events_of {

constexpr std::string_view kAssessed = "traces.assessed";  // subject traces/<id>; assessment, kind, name, source, value
constexpr std::string_view kAssessmentChanged = "traces.assessment_changed";  // assessment, name, value
constexpr std::string_view kAssessmentDeleted = "traces.assessment_deleted";  // assessment, name
constexpr std::string_view kDeleted = "traces.deleted";  // subject experiments/<id>; traces, digest of their ids

}  // namespace tidemill::traces::events_of
