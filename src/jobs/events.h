// The events of this room.
#pragma once

namespace tidemill::jobs {

// A job failed for the last time. Subject "jobs/<id>"; payload {kind, key, error, failures}.
constexpr const char* kJobFailedEvent = "jobs.failed";

}  // namespace tidemill::jobs
