#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "api/mlflow/parts.h"
#include "base/hash.h"

namespace tidemill::mlflow {
namespace {

constexpr std::int64_t kSearchedByDefault = 1'000;
constexpr std::int64_t kDatasetExperimentsMax = 20;

// A name for a run whose maker gave none: two words and a number, so that people can talk about it.
std::string made_up_name() {
  constexpr std::array<std::string_view, 16> kHow{"calm",   "swift", "bright", "steady", "quiet", "bold",
                                                  "gentle", "keen",  "deep",   "silver", "early", "patient",
                                                  "lively", "clear", "tidal",  "wide"};
  constexpr std::array<std::string_view, 16> kWho{"otter", "heron",  "gull", "seal",   "crab", "tern",
                                                  "whale", "plover", "eel",  "shrimp", "cod",  "egret",
                                                  "ray",   "mussel", "swan", "perch"};
  const std::string random = random_bytes(4);
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(random[i]); };
  return fmt::format("{}-{}-{}", kHow[byte(0) % kHow.size()], kWho[byte(1) % kWho.size()],
                     (byte(2) << 8 | byte(3)) % 1'000);
}

Result<runs::Status> status_of(const std::string& text) {
  std::string word = text;
  std::ranges::transform(word, word.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  const auto status = parse_enum<runs::Status>(word);
  if (status && word != text) return *status;
  return invalid_value("status", json::Value(text), "RUNNING, SCHEDULED, FINISHED, FAILED or KILLED");
}

// Brings a run's name and the tag that clients read it from together.
Result<void> settle_name(runs::NewRun& run) {
  const auto tag = std::ranges::find(run.tags, kRunNameTag, &runs::KeyValue::key);
  if (tag == run.tags.end()) {
    if (run.name.empty()) run.name = made_up_name();
    run.tags.push_back({std::string(kRunNameTag), run.name});
    return {};
  }
  if (run.name.empty()) run.name = tag->value;
  if (run.name == tag->value) return {};
  return fail(
      Code::kInvalidArgument, "mlflow.two_names",
      fmt::format(
          "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values (run_name='{}', "
          "mlflow.runName='{}').",
          run.name.substr(0, 256), tag->value.substr(0, 256)),
      "Send one of them.");
}

Result<std::string> create(runs::Runs& runs, const Call& call) {
  runs::NewRun run;
  const std::string experiment = TM_TRY(call.fields.text("experiment_id"));
  run.experiment = experiment.empty() ? runs::ExperimentId(0) : TM_TRY(runs::ExperimentId::parse(experiment));
  run.name = TM_TRY(call.fields.text("run_name"));
  run.person = TM_TRY(call.fields.text("user_id"));
  run.start_ms = TM_TRY(call.fields.maybe_integer("start_time"));
  run.tags = TM_TRY(pairs(call.fields, "tags"));
  TM_CHECK(settle_name(run));
  return wrapped("run", TM_TRY(runs.database().write([&](sql::Tx& tx) { return runs.start(tx, run); })));
}

Result<std::string> update(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id", "run_uuid"))));
  runs::RunChange change;
  if (const auto status = TM_TRY(call.fields.maybe_text("status"))) change.status = TM_TRY(status_of(*status));
  change.end_ms = TM_TRY(call.fields.maybe_integer("end_time"));
  if (const std::string name = TM_TRY(call.fields.text("run_name")); !name.empty()) change.name = name;
  const auto info = TM_TRY(runs.database().write([&](sql::Tx& tx) -> Result<runs::RunInfo> {
    if (change.name) TM_CHECK(runs.log(tx, id, {{}, {}, {{std::string(kRunNameTag), *change.name}}}));
    return runs.change(tx, call.actor, id, change);
  }));
  return wrapped("run_info", info);
}

Result<std::string> search(runs::Runs& runs, const Call& call) {
  runs::Search search;
  for (const std::string& text : TM_TRY(call.fields.texts("experiment_ids"))) {
    search.experiments.push_back(TM_TRY(runs::ExperimentId::parse(text)));
  }
  search.filter = TM_TRY(call.fields.text("filter"));
  search.order_by = TM_TRY(call.fields.texts("order_by"));
  search.view = TM_TRY(view_type(call.fields, "run_view_type"));
  search.limit = TM_TRY(max_results(call.fields, kSearchedByDefault, runs.limits().search_results_max));
  search.offset = TM_TRY(offset_of(TM_TRY(call.fields.text("page_token"))));
  return wrapped("runs", TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.search(tx, search); })));
}

Result<std::string> search_datasets(runs::Runs& runs, const Call& call) {
  std::vector<runs::ExperimentId> experiments;
  const auto ids = TM_TRY(call.fields.texts("experiment_ids"));
  if (ids.empty()) {
    return fail(Code::kInvalidArgument, "mlflow.no_experiments",
                "SearchDatasets request must specify at least one experiment_id.", "Send experiment_ids.");
  }
  if (static_cast<std::int64_t>(ids.size()) > kDatasetExperimentsMax) {
    return fail(
        Code::kInvalidArgument, "mlflow.too_many_experiments",
        fmt::format("SearchDatasets request cannot specify more than {} experiment_ids.", kDatasetExperimentsMax),
        "Ask for fewer.");
  }
  for (const std::string& text : ids) experiments.push_back(TM_TRY(runs::ExperimentId::parse(text)));
  const auto found = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.datasets(tx, experiments); }));
  JsonText json;
  json.begin_object().key("dataset_summaries").begin_array();
  for (const runs::DatasetSummary& one : found) {
    json.begin_object().text("experiment_id", one.experiment.str()).text("name", one.name).text("digest", one.digest);
    json.text_if("context", one.context).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace

Result<std::int64_t> max_results(const Fields& fields, std::int64_t fallback, std::int64_t max) {
  const std::int64_t wanted = TM_TRY(fields.maybe_integer("max_results")).value_or(fallback);
  if (wanted >= 1 && wanted <= max) return wanted;
  return invalid_value("max_results", wanted, fmt::format("a number from 1 to {}", max));
}

void add_runs(Endpoints& endpoints, runs::Runs& runs) {
  endpoints.add(Method::post, "/mlflow/runs/create", Right::write, "Start a run",
                [&runs](const Call& call) { return create(runs, call); });
  endpoints.add(Method::post, "/mlflow/runs/update", Right::write, "Change status, end or name of a run",
                [&runs](const Call& call) { return update(runs, call); });
  endpoints.add(Method::post, "/mlflow/runs/search", Right::read, "Search runs",
                [&runs](const Call& call) { return search(runs, call); });
  endpoints.add(Method::post, "/mlflow/experiments/search-datasets", Right::read,
                "List the data sets that runs of experiments read",
                [&runs](const Call& call) { return search_datasets(runs, call); });
  endpoints.add(Method::get, "/mlflow/runs/get", Right::read, "Get a run",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id", "run_uuid"))));
                  return wrapped("run", TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.run(tx, id); })));
                });
  endpoints.add(Method::post, "/mlflow/runs/delete", Right::write, "Mark a run as deleted",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.delete_run(tx, call.actor, id); }));
                  return std::string(kNothing);
                });
  endpoints.add(Method::post, "/mlflow/runs/restore", Right::write, "Take the mark off again",
                [&runs](const Call& call) -> Result<std::string> {
                  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id"))));
                  TM_CHECK(runs.database().write([&](sql::Tx& tx) { return runs.restore_run(tx, call.actor, id); }));
                  return std::string(kNothing);
                });
}

}  // namespace tidemill::mlflow
