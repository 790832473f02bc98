// MLflow's traces: what its clients start, read, search, tag, link and delete. Spans come in by OTLP (spans.cc).
#include "api/mlflow/traces.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/clock.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kSearchedByDefault = 100;
constexpr std::size_t kFractionDigits = 3;

using traces::Traces;

// Everything of a trace in one read.
struct Whole {
  traces::Trace trace;
  std::vector<traces::Span> spans;
};

Result<traces::State> state_of(const Fields& info) {
  const std::string text = TM_TRY(info.text("state"));
  if (text == "OK") return traces::State::ok;
  if (text == "ERROR") return traces::State::error;
  if (text == "IN_PROGRESS") return traces::State::in_progress;
  if (text.empty() || text == "STATE_UNSPECIFIED") return traces::State::state_unspecified;
  return invalid_value("state", json::Value(text), "OK, ERROR or IN_PROGRESS");
}

// Returns the milliseconds of "1.250s", as Protobuf writes a duration.
Result<std::optional<std::int64_t>> duration_of(const Fields& info) {
  const std::string text = TM_TRY(info.text("execution_duration"));
  if (text.empty()) return std::optional<std::int64_t>();
  const auto refuse = [&] { return invalid_value("execution_duration", json::Value(text), "such as 1.250s"); };
  std::string_view rest = text;
  if (!rest.ends_with('s')) return refuse();
  rest.remove_suffix(1);
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), seconds);
  if (error != std::errc{} || seconds < 0 || seconds > INT64_MAX / 1'000 - 1) return refuse();
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
  if (rest.empty()) return std::optional(seconds * 1'000);
  std::string digits(rest.substr(1));
  if (rest.front() != '.' || digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) {
    return refuse();
  }
  digits.resize(kFractionDigits, '0');
  std::int64_t milliseconds = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), milliseconds);
  return std::optional(seconds * 1'000 + milliseconds);
}

// Returns the value of a pair that is kept elsewhere, and takes the pair out.
std::optional<std::string> take(std::vector<runs::KeyValue>& pairs, std::string_view key) {
  const auto found = std::ranges::find(pairs, key, &runs::KeyValue::key);
  if (found == pairs.end()) return std::nullopt;
  std::string value = std::move(found->value);
  pairs.erase(found);
  return value;
}

json::Value json_in(const std::vector<runs::KeyValue>& pairs, std::string_view key) {
  const auto found = std::ranges::find(pairs, key, &runs::KeyValue::key);
  if (found == pairs.end()) return nullptr;
  auto value = json::parse(found->value);
  return value ? *std::move(value) : json::Value(nullptr);
}

Result<std::vector<runs::KeyValue>> values_of(const Fields& info, std::string_view name) {
  std::vector<runs::KeyValue> values;
  for (auto& [key, value] : TM_TRY(info.text_pairs(name))) values.push_back({key, value});
  return values;
}

Result<traces::NewTrace> new_trace(const Fields& info, const Clock& clock) {
  traces::NewTrace trace;
  trace.id = TM_TRY(traces::TraceId::parse(TM_TRY(info.required("trace_id"))));
  const Fields location = TM_TRY(TM_TRY(info.object("trace_location")).object("mlflow_experiment"));
  trace.experiment = TM_TRY(experiment_id(TM_TRY(location.required("experiment_id"))));
  trace.client_request_id = TM_TRY(info.text("client_request_id"));
  const std::string time = TM_TRY(info.text("request_time"));
  trace.at_ms = time.empty() ? clock.now_ms() : TM_TRY(parse_utc(time));
  trace.duration_ms = TM_TRY(duration_of(info));
  trace.state = TM_TRY(state_of(info));
  trace.request_preview = TM_TRY(info.maybe_text("request_preview"));
  trace.response_preview = TM_TRY(info.maybe_text("response_preview"));
  trace.metadata = TM_TRY(values_of(info, "trace_metadata"));
  trace.tags = TM_TRY(values_of(info, "tags"));
  trace.name = take(trace.tags, kTraceNameTag);
  take(trace.tags, kArtifactLocationTag);  // told anew with each answer
  trace.usage = usage_of(json_in(trace.metadata, kTokensKey), json_in(trace.metadata, kCostsKey));
  const auto run = std::ranges::find(trace.metadata, kSourceRunKey, &runs::KeyValue::key);
  if (run != trace.metadata.end()) {
    if (auto id = runs::RunId::parse(run->value)) trace.run = *std::move(id);
  }
  trace.metadata.push_back({std::string(kFinalizedKey), "true"});
  for (const Fields& assessment : TM_TRY(info.objects("assessments"))) {
    trace.assessments.push_back(TM_TRY(assessment_of(assessment, clock.now_ms())));
  }
  return trace;
}

Result<std::string> start(Traces& traces, runs::Runs& runs, const Clock& clock, const Call& call) {
  if (!call.fields.has("trace")) return missing_value("trace");
  const Fields info = TM_TRY(TM_TRY(call.fields.object("trace")).object("trace_info"));
  const traces::NewTrace trace = TM_TRY(new_trace(info, clock));
  return traces.database().write([&](sql::Tx& tx) -> Result<std::string> {
    const traces::Trace kept = TM_TRY(traces.start(tx, trace));
    JsonText json;
    json.begin_object().key("trace").begin_object().key("trace_info");
    TM_CHECK(TraceWriter(runs, tx).write(json, kept));
    json.end_object().end_object();
    return json.take();
  });
}

Result<std::string> info(Traces& traces, runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(trace_id(call.request.param("trace_id")));
  return traces.database().read([&](sql::Tx& tx) -> Result<std::string> {
    JsonText json;
    json.begin_object().key("trace").begin_object().key("trace_info");
    TM_CHECK(TraceWriter(runs, tx).write(json, TM_TRY(traces.trace(tx, id))));
    json.end_object().end_object();
    return json.take();
  });
}

// Whether as many spans have come as whoever traced it has counted.
bool is_complete(const Whole& whole) {
  const json::Value sizes = json_in(whole.trace.metadata, kSizeKey);
  const auto* object = sizes.if_object();
  const json::Value* count = object == nullptr ? nullptr : object->if_contains("num_spans");
  const auto* number = count == nullptr ? nullptr : count->if_int64();
  return number == nullptr ? !whole.spans.empty() : static_cast<std::int64_t>(whole.spans.size()) >= *number;
}

Result<Whole> read_whole(Traces& traces, sql::Tx& tx, const traces::TraceId& id) {
  return Whole{TM_TRY(traces.trace(tx, id)), TM_TRY(traces.spans(tx, id))};
}

Result<std::string> get(Traces& traces, runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(trace_id(TM_TRY(call.fields.required("trace_id"))));
  const bool partial = TM_TRY(call.fields.maybe_boolean("allow_partial")).value_or(false);
  return traces.database().read([&](sql::Tx& tx) -> Result<std::string> {
    const Whole whole = TM_TRY(read_whole(traces, tx, id));
    if (!partial && !is_complete(whole)) {
      return fail(Code::kNotFound, "mlflow.trace_incomplete",
                  fmt::format("Trace with ID {} is not fully exported yet.", id.str()),
                  "Try again, or allow a part of it.");
    }
    JsonText json;
    json.begin_object().key("trace");
    TM_CHECK(TraceWriter(runs, tx).write(json, whole.trace, whole.spans));
    json.end_object();
    return json.take();
  });
}

// Traces that are unknown or incomplete are left out.
Result<std::string> batch_get(Traces& traces, runs::Runs& runs, const Call& call, bool with_spans) {
  const auto ids = TM_TRY(call.fields.texts("trace_ids"));
  if (ids.empty()) return missing_value("trace_ids");
  if (static_cast<std::int64_t>(ids.size()) > traces.limits().got_max) {
    return fail(Code::kInvalidArgument, "mlflow.too_many_traces",
                fmt::format("{} traces are asked for, more than {}.", ids.size(), traces.limits().got_max),
                "Ask for fewer at once.");
  }
  return traces.database().read([&](sql::Tx& tx) -> Result<std::string> {
    TraceWriter writer(runs, tx);
    JsonText json;
    json.begin_object().key(with_spans ? "traces" : "trace_infos").begin_array();
    for (const std::string& text : ids) {
      const auto id = trace_id(text);
      auto trace = id ? traces.trace(tx, *id) : std::unexpected(id.error());
      if (!trace && trace.error().code == Code::kNotFound) continue;
      if (!with_spans) {
        TM_CHECK(writer.write(json, TM_TRY(std::move(trace))));
        continue;
      }
      const Whole whole{TM_TRY(std::move(trace)), TM_TRY(traces.spans(tx, *id))};
      if (is_complete(whole)) TM_CHECK(writer.write(json, whole.trace, whole.spans));
    }
    json.end_array().end_object();
    return json.take();
  });
}

Result<std::string> search(Traces& traces, runs::Runs& runs, const Call& call) {
  if (!call.fields.has("locations")) return missing_value("locations");
  traces::Search search;
  for (const Fields& location : TM_TRY(call.fields.objects("locations"))) {
    const Fields experiment = TM_TRY(location.object("mlflow_experiment"));
    if (!experiment.has("experiment_id")) continue;
    search.experiments.push_back(TM_TRY(runs::ExperimentId::parse(TM_TRY(experiment.required("experiment_id")))));
  }
  search.filter = TM_TRY(call.fields.text("filter"));
  search.order_by = TM_TRY(call.fields.texts("order_by"));
  search.limit = TM_TRY(max_results(call.fields, kSearchedByDefault, traces.limits().search_results_max));
  search.offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  return traces.database().read([&](sql::Tx& tx) -> Result<std::string> {
    const auto page = TM_TRY(traces.search(tx, search));
    TraceWriter writer(runs, tx);
    JsonText json;
    json.begin_object().key("traces").begin_array();
    for (const traces::Trace& trace : page.items) TM_CHECK(writer.write(json, trace));
    json.end_array();
    if (page.next) json.text("next_page_token", page_token(*page.next));
    json.end_object();
    return json.take();
  });
}

Result<std::string> set_tag(Traces& traces, const Call& call, bool deletes) {
  const auto id = TM_TRY(trace_id(call.request.param("trace_id")));
  const std::string key = TM_TRY(call.fields.required("key"));
  const std::string value = TM_TRY(call.fields.text("value"));
  const auto kept = deletes ? std::nullopt : std::optional<std::string_view>(value);
  TM_CHECK(traces.database().write([&](sql::Tx& tx) {
    return key == kTraceNameTag ? traces.set_name(tx, id, kept) : traces.tag(tx, id, key, kept);
  }));
  return std::string(kNothing);
}

Result<std::string> remove(Traces& traces, runs::Runs& runs, const Call& call) {
  traces::Removal removal;
  removal.experiment = TM_TRY(experiment_id(TM_TRY(call.fields.required("experiment_id"))));
  removal.until_ms = TM_TRY(call.fields.maybe_integer("max_timestamp_millis"));
  removal.count_max = TM_TRY(call.fields.maybe_integer("max_traces"));
  const auto ids = TM_TRY(call.fields.texts(call.fields.has("request_ids") ? "request_ids" : "trace_ids"));
  for (const std::string& text : ids) {
    if (auto id = traces::TraceId::parse(text)) removal.ids.push_back(*std::move(id));
  }
  std::vector<traces::TraceId> removed;
  if (ids.empty() || !removal.ids.empty()) removed = TM_TRY(traces.remove(call.actor, removal));
  for (const traces::TraceId& id : removed) {
    traces::Trace trace;
    trace.id = id;
    trace.experiment = removal.experiment;
    const auto gone = runs.delete_artefacts(call.actor, artifact_folder(trace));
    if (!gone && gone.error().code != Code::kNotFound) return std::unexpected(gone.error());
  }
  JsonText json;
  json.begin_object().integer("traces_deleted", static_cast<std::int64_t>(removed.size())).end_object();
  return json.take();
}

Result<std::string> link_run(Traces& traces, const Call& call) {
  const auto run = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
  std::vector<traces::TraceId> ids;
  if (!call.fields.has("trace_ids")) return missing_value("trace_ids");
  for (const std::string& text : TM_TRY(call.fields.texts("trace_ids"))) {
    ids.push_back(TM_TRY(traces::TraceId::parse(text)));
  }
  TM_CHECK(traces.database().write([&](sql::Tx& tx) { return traces.link_run(tx, run, ids); }));
  return std::string(kNothing);
}

Result<std::string> link_prompts(Traces& traces, const Call& call) {
  const auto id = TM_TRY(trace_id(TM_TRY(call.fields.required("trace_id"))));
  if (!call.fields.has("prompt_versions")) return missing_value("prompt_versions");
  std::vector<traces::PromptVersion> prompts;
  for (const Fields& prompt : TM_TRY(call.fields.objects("prompt_versions"))) {
    prompts.push_back({TM_TRY(prompt.required("name")), TM_TRY(prompt.required_integer("version"))});
  }
  TM_CHECK(traces.database().write([&](sql::Tx& tx) { return traces.link_prompts(tx, id, prompts); }));
  return std::string(kNothing);
}

// traces.json as clients would have uploaded it, of the spans that are here.
Result<std::optional<std::string>> stored_spans(Traces& traces, const traces::TraceId& id) {
  return traces.database().read([&](sql::Tx& tx) -> Result<std::optional<std::string>> {
    const auto trace = TM_TRY(traces.trace(tx, id));
    const auto spans = TM_TRY(traces.spans(tx, id));
    if (spans.empty()) return std::optional<std::string>();
    JsonText json;
    json.begin_object().key("spans").begin_array();
    for (const traces::Span& span : spans) write_stored(json, span);
    json.end_array().end_object();
    return std::optional(json.take());
  });
}

Result<http::Response> artifact(Traces& traces, runs::Runs& runs, const std::filesystem::path& scratch_folder,
                                const http::Request& request) {
  const Fields fields = TM_TRY(Fields::of(request));
  const auto id = TM_TRY(trace_id(TM_TRY(fields.required("request_id", "trace_id"))));
  const std::string path = TM_TRY(fields.text("path"));
  if (path.empty()) {
    if (auto text = TM_TRY(stored_spans(traces, id))) {
      auto response = http::Response::text(200, *std::move(text), "text/plain");
      response.headers.emplace_back("X-Content-Type-Options", "nosniff");
      response.headers.emplace_back("Content-Disposition", "attachment; filename=traces.json");
      return response;
    }
  }
  const auto trace = TM_TRY(traces.database().read([&](sql::Tx& tx) { return traces.trace(tx, id); }));
  return download_artifact(runs, scratch_folder,
                           artifact_folder(trace) + (path.empty() ? "/traces.json" : "/attachments/" + path));
}

void add_reading(Endpoints& endpoints, Traces& traces, runs::Runs& runs) {
  const auto add = [&](Method method, std::string_view path, std::string_view summary, auto handler) {
    endpoints.add(method, path, Right::read, summary,
                  [&traces, &runs, handler](const Call& call) { return handler(traces, runs, call); });
  };
  add(Method::get, "/mlflow/traces/get", "Get a trace with its spans", get);
  add(Method::get, "/mlflow/traces/batchGet", "Get traces with their spans",
      [](Traces& all, runs::Runs& their, const Call& call) { return batch_get(all, their, call, true); });
  add(Method::get, "/mlflow/traces/batchGetInfos", "Get traces without their spans",
      [](Traces& all, runs::Runs& their, const Call& call) { return batch_get(all, their, call, false); });
  add(Method::get, "/mlflow/traces/{trace_id}", "Get a trace without its spans", info);
  add(Method::post, "/mlflow/traces/search", "Search traces", search);
}

}  // namespace

Result<traces::TraceId> trace_id(const std::string& text) {
  auto id = traces::TraceId::parse(text);
  if (id) return id;
  return fail(Code::kNotFound, "traces.unknown", fmt::format("Trace with ID '{}' not found.", text.substr(0, 64)),
              "Search the traces of its experiment.");
}

void add_traces(Endpoints& v2, Endpoints& v3, Traces& traces, runs::Runs& runs, const Clock& clock,
                const std::filesystem::path& scratch_folder) {
  add_reading(v3, traces, runs);
  v3.add(Method::post, "/mlflow/traces", Right::write, "Tell what a trace is as a whole",
         [&traces, &runs, &clock](const Call& call) { return start(traces, runs, clock, call); });
  for (Endpoints* both : {&v2, &v3}) {
    both->add(Method::patch, "/mlflow/traces/{trace_id}/tags", Right::write, "Set a tag of a trace",
              [&traces](const Call& call) { return set_tag(traces, call, false); });
    both->add(Method::del, "/mlflow/traces/{trace_id}/tags", Right::write, "Delete a tag of a trace",
              [&traces](const Call& call) { return set_tag(traces, call, true); });
    both->add(Method::post, "/mlflow/traces/delete-traces", Right::write, "Delete traces",
              [&traces, &runs](const Call& call) { return remove(traces, runs, call); });
    both->add(Method::post, "/mlflow/traces/link-to-run", Right::write, "Link traces to a run",
              [&traces](const Call& call) { return link_run(traces, call); });
    both->add(Method::post, "/mlflow/traces/link-prompts", Right::write, "Link prompts to a trace",
              [&traces](const Call& call) { return link_prompts(traces, call); });
    both->add_raw(Method::get, "/mlflow/get-trace-artifact", Right::read, "Download the spans or a file of a trace",
                  http::Body::none,
                  [&traces, &runs, scratch_folder](const http::Request& request, const http::Done& done) {
                    auto response = artifact(traces, runs, scratch_folder, request);
                    done(response ? *std::move(response) : error_response(response.error()));
                  });
  }
  add_assessments(v3, traces, clock);
}

}  // namespace tidemill::mlflow
