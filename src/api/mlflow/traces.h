// What the parts of MLflow's trace protocol share; private to this room.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/mlflow/parts.h"
#include "flow/traces/traces.h"

namespace tidemill::mlflow {

inline constexpr std::string_view kTraceNameTag = "mlflow.traceName";
inline constexpr std::string_view kSpansLocationTag = "mlflow.trace.spansLocation";
inline constexpr std::string_view kArtifactLocationTag = "mlflow.artifactLocation";
inline constexpr std::string_view kSourceRunKey = "mlflow.sourceRun";
inline constexpr std::string_view kTokensKey = "mlflow.trace.tokenUsage";
inline constexpr std::string_view kCostsKey = "mlflow.trace.cost";
inline constexpr std::string_view kSessionKey = "mlflow.trace.session";
inline constexpr std::string_view kUserKey = "mlflow.trace.user";
inline constexpr std::string_view kFinalizedKey = "mlflow.trace.infoFinalized";
inline constexpr std::string_view kSizeKey = "mlflow.trace.sizeStats";
inline constexpr std::string_view kRequestIdAttribute = "mlflow.traceRequestId";
inline constexpr std::size_t kTagKeyBytesMax = 250;

// Reads {"input_tokens": …} and {"input_cost": …}; what is not of this form counts as absent.
[[nodiscard]] traces::Usage usage_of(const json::Value& tokens, const json::Value& costs);
// Returns the id, or kNotFound: an experiment with another form of id is merely unknown.
[[nodiscard]] Result<runs::ExperimentId> experiment_id(const std::string& text);
// The same for traces.
[[nodiscard]] Result<traces::TraceId> trace_id(const std::string& text);

// Reads an assessment as clients send it. `now_ms` stands where they give no time.
[[nodiscard]] Result<traces::Assessment> assessment_of(const Fields& fields, std::int64_t now_ms);
void write(JsonText& json, const traces::Assessment& assessment);

// The folder of our own store in which a trace keeps its files.
[[nodiscard]] std::string artifact_folder(const traces::Trace& trace);

// Writes traces that may be of several experiments, within one transaction.
class TraceWriter {
 public:
  TraceWriter(runs::Runs& runs, sql::Tx& tx) : runs_(runs), tx_(tx) {}
  // TraceInfo
  [[nodiscard]] Result<void> write(JsonText& json, const traces::Trace& trace);
  // {"trace_info": …, "spans": […]}
  [[nodiscard]] Result<void> write(JsonText& json, const traces::Trace& trace, const std::vector<traces::Span>& spans);

 private:
  runs::Runs& runs_;
  sql::Tx& tx_;
  std::map<runs::ExperimentId, std::string> roots_;  // where each keeps artefacts
};

// Writes a span as OTLP has it, and as MLflow keeps it in the file traces.json.
void write_otlp(JsonText& json, const traces::Span& span);
void write_stored(JsonText& json, const traces::Span& span);

}  // namespace tidemill::mlflow
