// The room of traces: what requests to applications did, span by span, and how people and judges found it. See
// README.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "access/types.h"
#include "base/clock.h"
#include "base/result.h"
#include "events/events.h"
#include "flow/runs/runs.h"
#include "flow/traces/types.h"
#include "storage/sql/database.h"

namespace tidemill::traces {

// All functions may be called from any thread. Those with a Tx& join the caller's transaction, the others make their
// own and must not be called within one. Unknown ids are kNotFound; what breaks a limit or a rule is kInvalidArgument.
class Traces {
 public:
  // Makes or updates its tables. What is referred to must outlive this.
  [[nodiscard]] static Result<std::unique_ptr<Traces>> create(sql::Database& database, events::Events& events,
                                                              runs::Runs& runs, const Clock& clock, Limits limits = {});

  // Waits for what add_spans_async has queued, which refers to this.
  ~Traces();
  Traces(const Traces&) = delete;
  Traces& operator=(const Traces&) = delete;

  // Keeps what the trace is as a whole. Its spans may have come before; then it is told anew, tags and metadata added.
  // Returns it as kept. Long values of tags and previews are cut.
  [[nodiscard]] Result<Trace> start(sql::Tx& tx, const NewTrace& trace);

  // Keeps all spans, or none. A span that is known is replaced. A trace that is not is made of what its spans tell.
  [[nodiscard]] Result<void> add_spans(sql::Tx& tx, const SpanBatch& batch);
  // The same without waiting: `done` is called on the writer's thread once the spans are on disk, or refused.
  void add_spans_async(SpanBatch batch, std::function<void(Result<void>)> done);

  [[nodiscard]] Result<Trace> trace(sql::Tx& tx, const TraceId& id);
  // Roots first, then by start.
  [[nodiscard]] Result<std::vector<Span>> spans(sql::Tx& tx, const TraceId& id);

  // Fields: the attributes trace_id, status, timestamp_ms, execution_time_ms, end_time_ms, name, run_id,
  // client_request_id, prompt ("name/version"), text; tags and metadata by key; span.name, .type, .status, .content,
  // .attributes.<key>, all those of one filter by the same span; feedback and expectation by name; issue.id. Newest
  // first by default; traces without the field that is ordered by come last.
  [[nodiscard]] Result<Page<Trace>> search(sql::Tx& tx, const Search& search);

  // No value deletes; deleting what is not there is kNotFound. The name is set by set_name.
  [[nodiscard]] Result<void> tag(sql::Tx& tx, const TraceId& id, std::string_view key,
                                 std::optional<std::string_view> value);
  [[nodiscard]] Result<void> set_name(sql::Tx& tx, const TraceId& id, std::optional<std::string_view> name);

  // Deletes what fits, with spans and assessments, some hundred in a transaction; returns their ids. Event
  // traces.deleted for each transaction.
  [[nodiscard]] Result<std::vector<TraceId>> remove(const access::Actor& actor, const Removal& removal);

  // Traces that do not exist are left out; linking twice is no error.
  [[nodiscard]] Result<void> link_run(sql::Tx& tx, const RunId& run, const std::vector<TraceId>& traces);
  [[nodiscard]] Result<void> link_prompts(sql::Tx& tx, const TraceId& id, const std::vector<PromptVersion>& prompts);

  // `assessment.id` is made here. The one that it overrides becomes invalid. Event traces.assessed.
  [[nodiscard]] Result<Assessment> assess(sql::Tx& tx, const access::Actor& actor, Assessment assessment);
  [[nodiscard]] Result<Assessment> assessment(sql::Tx& tx, const TraceId& trace, const AssessmentId& id);
  [[nodiscard]] Result<Assessment> change_assessment(sql::Tx& tx, const access::Actor& actor, const TraceId& trace,
                                                     const AssessmentId& id, const AssessmentChange& change);
  // Makes the one that it overrides valid again. Deleting what is not there is no error.
  [[nodiscard]] Result<void> delete_assessment(sql::Tx& tx, const access::Actor& actor, const TraceId& trace,
                                               const AssessmentId& id);

  [[nodiscard]] sql::Database& database() const { return database_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  Traces(sql::Database& database, events::Events& events, runs::Runs& runs, const Clock& clock, Limits limits)
      : database_(database), events_(events), runs_(runs), clock_(clock), limits_(limits) {}

  enum class Kind { tag, metadata };
  struct Target {
    std::int64_t n = 0;
    std::int64_t experiment = 0;
  };

  [[nodiscard]] Result<Target> existing(sql::Tx& tx, const TraceId& id);
  [[nodiscard]] Result<void> check_experiment(sql::Tx& tx, ExperimentId id);
  [[nodiscard]] Result<void> check_batch(const SpanBatch& batch) const;
  [[nodiscard]] Result<Target> insert(sql::Tx& tx, const NewTrace& trace, bool started);
  [[nodiscard]] Result<void> restart(sql::Tx& tx, const Target& target, const NewTrace& trace);
  [[nodiscard]] Result<Target> from_spans(sql::Tx& tx, const SpanBatch& batch, const TraceId& id,
                                          const std::vector<const Span*>& spans);
  [[nodiscard]] Result<void> put_span(sql::Tx& tx, const Target& target, const Span& span);
  [[nodiscard]] Result<void> take_hints(sql::Tx& tx, const Target& target, const TraceHints& hints);
  [[nodiscard]] Result<void> sum_usage(sql::Tx& tx, const Target& target);
  [[nodiscard]] Result<void> set_values(sql::Tx& tx, const Target& target, Kind kind,
                                        const std::vector<KeyValue>& pairs, bool replace = true);
  [[nodiscard]] Result<std::int64_t> key_id(sql::Tx& tx, Kind kind, std::string_view key);
  [[nodiscard]] Result<void> insert_assessment(sql::Tx& tx, const Target& target, const Assessment& assessment);
  [[nodiscard]] Result<std::vector<Assessment>> assessments(sql::Tx& tx, std::int64_t n, const TraceId& id);
  [[nodiscard]] Result<Trace> read(sql::Tx& tx, std::int64_t n);
  [[nodiscard]] Result<void> emit(sql::Tx& tx, const access::Actor& actor, std::string_view kind, std::string subject,
                                  json::Object payload);

  sql::Database& database_;
  events::Events& events_;
  runs::Runs& runs_;
  const Clock& clock_;
  const Limits limits_;

  std::mutex mutex_;
  std::unordered_map<std::string, std::int64_t> key_ids_;  // of committed keys; guarded by mutex_
};

}  // namespace tidemill::traces
