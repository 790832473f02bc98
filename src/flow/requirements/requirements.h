// The room of requirements. See README.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/requirements/types.h"
#include "storage/sql/database.h"

namespace tidemill::requirements {

constexpr std::size_t kRulesMax = 64;
constexpr std::size_t kTextBytesMax = 16 * 1024;  // goal, owner and fallback, each

// Judges the rules of `requirement` that apply at `place` (those of newest_window always do) by `metrics`. The one
// function by which both the release gate and the monitors decide. Pure; any thread.
[[nodiscard]] std::vector<Verdict> evaluate(const Requirement& requirement, const Metrics& metrics, On place);

// Returns whether every verdict is met; true for none.
[[nodiscard]] bool all_met(const std::vector<Verdict>& verdicts);

// Returns "auc 0.661 misses >= 0.68; brier was not measured" of the verdicts not met; empty when all are.
[[nodiscard]] std::string describe_misses(const std::vector<Verdict>& verdicts);

// All functions may be called from any thread.
class Requirements {
 public:
  // Makes or updates its tables.
  [[nodiscard]] static Result<std::unique_ptr<Requirements>> create(sql::Database& database, events::Events& events,
                                                                    const Clock& clock);

  // Keeps revision 1. kInvalidArgument for a bad name, no rules, an unknown metric or operator, a limit that the metric
  // can never reach or miss; kAlreadyExists when the name is taken. Event requirements.created.
  [[nodiscard]] Result<Requirement> add(const access::Actor& actor, const NewRequirement& requirement);
  [[nodiscard]] Result<Requirement> add(sql::Tx& tx, const access::Actor& actor, const NewRequirement& requirement);

  // Keeps a new revision, which supersedes the one before it; what was judged by older ones keeps pointing at them.
  // kConflict when `if_revision` is given and not the newest; kFailedPrecondition when it is retired. Event
  // requirements.revised with what changed.
  [[nodiscard]] Result<Requirement> revise(const access::Actor& actor, const NewRequirement& requirement,
                                           std::optional<std::int64_t> if_revision);

  // Ends it: gates and monitors that name it fail closed from then on. Event requirements.retired with the reason,
  // which is mandatory.
  [[nodiscard]] Result<Requirement> retire(const access::Actor& actor, std::string_view name, std::string_view reason);

  // Returns the newest revision; kNotFound.
  [[nodiscard]] Result<Requirement> get(std::string_view name);
  [[nodiscard]] Result<Requirement> get(sql::Tx& tx, std::string_view name);
  // Returns the newest revision if it is active; kFailedPrecondition when it was retired: what gates and monitors ask
  // for.
  [[nodiscard]] Result<Requirement> active(std::string_view name);
  // Returns every revision, newest first; kNotFound.
  [[nodiscard]] Result<std::vector<Requirement>> revisions(std::string_view name);
  // Returns the newest revisions, by name, retired ones included.
  [[nodiscard]] Result<std::vector<Requirement>> list();

 private:
  Requirements(sql::Database& database, events::Events& events, const Clock& clock)
      : database_(database), events_(events), clock_(clock) {}

  sql::Database& database_;
  events::Events& events_;
  const Clock& clock_;
};

}  // namespace tidemill::requirements
