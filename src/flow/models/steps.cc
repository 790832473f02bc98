#include "flow/models/steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "flow/models/baselines.h"
#include "flow/models/checks.h"
#include "flow/models/gate.h"
#include "flow/models/parity.h"
#include "flow/models/rows.h"

namespace tidemill::models {
namespace {

constexpr std::uint64_t kJsonBytesMax = 16u << 20;
constexpr std::uint64_t kOnnxBytesMax = 1u << 30;

struct ParityWith : ParityLimits {
  std::string column = "probability";
};
BOOST_DESCRIBE_STRUCT(ParityWith, (ParityLimits), (column))

struct RegisterWith {
  using json_defaults = void;
  std::string model;
  std::string description;
  std::string run_id;
  std::string source;
  Tags tags;
  std::vector<DatasetRef> datasets;
  std::string feature_view;
  std::optional<Window> window;
};
BOOST_DESCRIBE_STRUCT(RegisterWith, (), (model, description, run_id, source, tags, datasets, feature_view, window))

enum class OnFail { report, fail };
BOOST_DESCRIBE_ENUM(OnFail, report, fail)

struct GateWith : GateOptions {
  std::string model;
  std::int64_t version = 0;
  std::string requirement;
  OnFail on_fail = OnFail::report;
};
BOOST_DESCRIBE_STRUCT(GateWith, (GateOptions), (model, version, requirement, on_fail))

std::optional<std::filesystem::path> find_input(const pipelines::BuiltinCall& call, std::string_view name) {
  for (const auto& [key, path] : call.inputs) {
    if (key == name || std::filesystem::path(key).stem() == name) return path;
  }
  return std::nullopt;
}

Result<std::filesystem::path> input(const pipelines::BuiltinCall& call, std::string_view name) {
  if (auto found = find_input(call, name)) return *std::move(found);
  return fail(Code::kInvalidArgument, "models.input_missing",
              fmt::format("Step '{}' has no input '{}'.", call.step, name),
              fmt::format("Add it to the step: inputs: {{{}: \"<step>/<file>\"}}.", name));
}

Result<Signature> read_signature(const std::filesystem::path& file) {
  return json::decode<Signature>(TM_TRY(read_file(file, kJsonBytesMax)));
}

std::vector<std::string> names_of(const Encoder& encoder) {
  std::vector<std::string> names;
  for (const ColumnSpec& column : encoder.columns()) names.push_back(column.name);
  return names;
}

Result<std::vector<double>> read_predictions(tables::Tables& tables, const std::filesystem::path& file,
                                             const std::string& column) {
  const tables::Frame frame = TM_TRY(read_rows(tables, file, {column}));
  const tables::Column& values = frame.columns.at(0);
  if (values.type == tables::Type::text) {
    return fail(Code::kInvalidArgument, "models.value_invalid",
                fmt::format("Column '{}' is text, no probability.", column),
                "Write the original's probabilities as numbers.");
  }
  std::vector<double> out(frame.rows);
  for (std::size_t row = 0; row < frame.rows; ++row) out[row] = values.number(row);
  return out;
}

// The training rows' baseline, with the scores that the model gives them.
Result<statistics::Baseline> baseline_of(Models& models, const Version& version, const std::filesystem::path& rows) {
  const auto scorer = TM_TRY(models.scorer(version.model, version.number));
  const tables::Frame frame = TM_TRY(read_rows(models.parts().tables, rows, names_of(scorer->encoder)));
  return build_baseline(scorer->encoder, frame, TM_TRY(scorer->score(frame)));
}

Result<void> make_model_if_missing(Models& models, const access::Actor& actor, std::string_view name) {
  return models.parts().database.write([&](sql::Tx& tx) -> Result<void> {
    const auto found = models.model(tx, name);
    if (found) return {};
    if (found.error().code != Code::kNotFound) return std::unexpected(found.error());
    TM_CHECK(models.add_model(tx, actor, name, ""));
    return {};
  });
}

// Stores the inputs that belong to the version; fills files and onnx.
Result<void> store_files(Models& models, const pipelines::BuiltinCall& call, NewVersion& version) {
  for (const auto& [name, path] : call.inputs) {
    const std::string stem = std::filesystem::path(name).stem().string();
    if (stem == "baseline" || stem == "parity") continue;
    const std::string kept = stem == "onnx" ? "model.onnx" : stem == "columns" ? "columns.json" : name;
    const blobs::Stored stored = TM_TRY(models.parts().blobs.put_file(path));
    version.files[kept] = {stored.id.str(), stored.bytes};
  }
  version.onnx = "model.onnx";
  return {};
}

std::string once_key(const pipelines::BuiltinCall& call) { return fmt::format("{}/{}", call.run.str(), call.step); }

}  // namespace

Result<json::Object> parity_step(Models& models, const pipelines::BuiltinCall& call) {
  const ParityWith with = TM_TRY(json::from_json<ParityWith>(json::Value(call.with), "with"));
  if (!models.parts().runtime)
    return fail(Code::kUnavailable, "runtimes.no_library", "ONNX Runtime is not loaded.", "Set runtimes.library.");
  const std::filesystem::path onnx = TM_TRY(input(call, "onnx"));
  const Encoder encoder = TM_TRY(Encoder::create(TM_TRY(read_signature(TM_TRY(input(call, "columns")))).columns));
  const std::filesystem::path rows = TM_TRY(input(call, "rows"));
  const std::filesystem::path predictions = find_input(call, "predictions").value_or(rows);
  TM_TRY(models.parts().prober.accept(onnx));
  const auto session = TM_TRY(models.parts().runtime->load(onnx));
  const tables::Frame frame = TM_TRY(read_rows(models.parts().tables, rows, names_of(encoder)));
  const std::vector<double> original = TM_TRY(read_predictions(models.parts().tables, predictions, with.column));
  const std::string digest = sha256_hex(TM_TRY(read_file(onnx, kOnnxBytesMax)));
  const Parity parity = TM_TRY(measure_parity(*session, encoder, frame, original, digest, with));
  call.log(fmt::format("{} rows: greatest difference {:.3g}, labels agree in {:.6g} %", parity.rows,
                       parity.max_abs_diff, 100 * parity.label_agreement));
  TM_CHECK(write_file_durably(call.outputs / "parity.json", json::encode(parity)));
  json::Object result = json::to_json(parity).as_object();
  result["passed"] = true;
  return result;
}

Result<json::Object> register_step(Models& models, const pipelines::BuiltinCall& call) {
  RegisterWith with = TM_TRY(json::from_json<RegisterWith>(json::Value(call.with), "with"));
  TM_TRY(input(call, "onnx"));
  NewVersion wanted;
  wanted.model = with.model;
  wanted.description = std::move(with.description);
  wanted.run_id = std::move(with.run_id);
  wanted.source = std::move(with.source);
  wanted.tags = std::move(with.tags);
  wanted.signature = TM_TRY(read_signature(TM_TRY(input(call, "columns"))));
  wanted.lineage = {call.pipeline, call.run.str(), call.step, std::move(with.datasets), std::move(with.feature_view),
                    with.window};
  if (const auto parity = find_input(call, "parity")) {
    wanted.parity = TM_TRY(json::decode<Parity>(TM_TRY(read_file(*parity, kJsonBytesMax))));
  }
  wanted.once_key = once_key(call);
  TM_CHECK(store_files(models, call, wanted));
  TM_CHECK(make_model_if_missing(models, call.actor, wanted.model));
  const Version version = TM_TRY(models.add_version(call.actor, wanted));
  if (const auto rows = find_input(call, "baseline")) {
    TM_CHECK(
        models.set_baseline(call.actor, version.model, version.number, TM_TRY(baseline_of(models, version, *rows))));
  }
  call.log(fmt::format("{} version {} registered", version.model, version.number));
  return json::Object{{"model", version.model},
                      {"number", version.number},
                      {"digest", version.digest},
                      {"state", enum_name(version.state)}};
}

Result<json::Object> gate_step(Models& models, const pipelines::BuiltinCall& call) {
  const GateWith with = TM_TRY(json::from_json<GateWith>(json::Value(call.with), "with"));
  GateReport report;
  const VersionDetail version = TM_TRY(models.detail(with.model, with.version));
  const auto kept = std::find_if(version.tests.begin(), version.tests.end(), [&](const GateReport& test) {
    return test.pipeline_run == call.run.str() && test.step == call.step;
  });
  if (kept != version.tests.end()) {
    report = *kept;
  } else {
    report = TM_TRY(judge(models, with.model, with.version, with.requirement, TM_TRY(input(call, "data")), with));
    report.pipeline_run = call.run.str();
    report.step = call.step;
    report.made_by = call.actor.name;
    report.made_ms = models.parts().clock.now_ms();
    TM_TRY(models.add_gate_report(call.actor, with.model, with.version, report));
  }
  call.log(fmt::format("{}: {}", report.passed ? "passed" : "not passed", report.reason));
  if (!report.passed && with.on_fail == OnFail::fail) {
    return fail(Code::kFailedPrecondition, "models.gate_failed",
                fmt::format("Version {} of '{}' did not pass the gate. {}", with.version, with.model, report.reason),
                "Look at the report with GET /api/models/{model}/versions/{number}.");
  }
  return json::to_json(report).as_object();
}

}  // namespace tidemill::models
