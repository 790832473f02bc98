// The events of this room. Subjects are "pipelines/<name>", and "pipelines/<name>/runs/<id>" for those of a run.
#pragma once

namespace tidemill::pipelines {

constexpr const char* kVersionAddedEvent = "pipelines.version_added";  // {version, digest}
constexpr const char* kRunQueuedEvent = "pipelines.run_queued";        // {run, pipeline, version, params, cause}
constexpr const char* kRunStartedEvent = "pipelines.run_started";      // {run, pipeline, version, cause}
constexpr const char* kStepStartedEvent = "pipelines.step_started";    // {run, step, attempt}
constexpr const char* kStepFinishedEvent =
    "pipelines.step_finished";  // {run, step, attempt, state, cached, message, outputs}
constexpr const char* kRunCancelledEvent = "pipelines.run_cancel_asked";  // {run}
constexpr const char* kRunFinishedEvent = "pipelines.run_finished";  // {run, pipeline, version, state, cause, message}

}  // namespace tidemill::pipelines
