// What a job is: work that outlives the request that asked for it.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/ids.h"
#include "base/json.h"

namespace tidemill::jobs {

struct JobTag {
  static constexpr const char* kNoun = "jobs";
};
using JobId = Id<JobTag>;

// queued → running → succeeded | failed | cancelled; back from running to queued after a crash, a shutdown or a retry.
enum class JobState { queued, running, succeeded, failed, cancelled };
BOOST_DESCRIBE_ENUM(JobState, queued, running, succeeded, failed, cancelled)

struct NewJob {
  std::string kind;        // which handler, such as "pipelines.run"
  std::string key{};       // at most one live (queued or running) job of a kind has this key; "" = no such rule
  json::Object payload{};  // for the handler
  std::int64_t not_before_ms = 0;
  std::int64_t attempts_max = 1;  // how often its handler may fail; a crash or shutdown of the server does not count
};

struct Job {
  JobId id;
  std::string kind;
  std::string key;
  json::Object payload;
  JobState state = JobState::queued;
  std::int64_t fence = 0;     // how often it was taken; the number of the one who may write for it
  std::int64_t failures = 0;  // how often its handler failed
  std::int64_t attempts_max = 1;
  std::int64_t not_before_ms = 0;
  std::int64_t created_ms = 0;
  std::optional<std::int64_t> finished_ms;
  std::string error;    // of the last failure
  json::Object result;  // of the success
};
BOOST_DESCRIBE_STRUCT(Job, (),
                      (id, kind, key, payload, state, fence, failures, attempts_max, not_before_ms, created_ms,
                       finished_ms, error, result))

}  // namespace tidemill::jobs
