// The events of this room. Subjects are "triggers/<name>".
#pragma once

namespace tidemill::triggers {

constexpr const char* kMadeEvent = "triggers.made";          // {start, on | every | cron}
constexpr const char* kReplacedEvent = "triggers.replaced";  // the same
constexpr const char* kEnabledEvent = "triggers.enabled";    // {}
constexpr const char* kDisabledEvent = "triggers.disabled";  // {}
constexpr const char* kFiredEvent =
    "triggers.fired";  // {number, kind, cause, event_seq?, due_ms?, pipeline, pipeline_run}
constexpr const char* kFailedEvent =
    "triggers.failed";  // {number, kind, cause, event_seq?, due_ms?, pipeline, message}

}  // namespace tidemill::triggers
