// What a version is made of, ready to use: model files, sessions, baselines.
#include <fmt/format.h>

#include <utility>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "flow/models/checks.h"
#include "flow/models/events.h"
#include "flow/models/models.h"
#include "flow/models/store.h"

namespace tidemill::models {

Result<std::vector<double>> Scorer::score(const tables::Frame& frame) const {
  const std::vector<float> matrix = TM_TRY(encoder.encode(frame));
  std::vector<double> scores(frame.rows);
  TM_CHECK(session->score(matrix, static_cast<std::int64_t>(encoder.width()), scores));
  return scores;
}

Result<std::filesystem::path> Models::unpacked(const std::string& blob) {
  const std::filesystem::path file = parts_.cache_folder / (blob + ".onnx");
  const auto kept = read_file(file, runtimes::FileLimits{}.file_bytes_max);
  if (kept && sha256_hex(*kept) == blob) return file;
  TM_CHECK(parts_.blobs.copy_to(TM_TRY(blobs::BlobId::parse(blob)), file));
  return file;
}

Result<std::filesystem::path> Models::onnx_file(std::string_view model_name, std::int64_t number) {
  const VersionDetail found = TM_TRY(detail(model_name, number));
  if (found.onnx.empty()) {
    return fail(Code::kFailedPrecondition, "models.no_onnx",
                fmt::format("Version {} of '{}' has no ONNX file.", number, model_name),
                "Register a version whose model was exported to ONNX.");
  }
  return unpacked(found.files.at(found.onnx).blob);
}

Result<std::shared_ptr<const Scorer>> Models::scorer(std::string_view model_name, std::int64_t number) {
  const VersionDetail found = TM_TRY(detail(model_name, number));
  const std::string key = fmt::format("{}/{}", found.model, number);
  {
    const std::lock_guard lock(mutex_);
    if (auto loaded = scorers_[key].lock()) return loaded;
  }
  if (!parts_.runtime) {
    return fail(Code::kUnavailable, "runtimes.no_library", "ONNX Runtime is not loaded, so no model can be run.",
                "Set runtimes.library to its file and start the server again.");
  }
  if (found.columns.empty()) {
    return fail(Code::kFailedPrecondition, "models.no_columns",
                fmt::format("Version {} of '{}' does not say its columns.", number, model_name),
                "Register a version with its columns.json.");
  }
  auto session = TM_TRY(parts_.runtime->load(TM_TRY(onnx_file(model_name, number))));
  auto encoder = TM_TRY(Encoder::create(found.columns));
  auto scorer = std::make_shared<const Scorer>(
      Scorer{found.model, number, std::move(session), std::move(encoder), found.label_column});
  const std::lock_guard lock(mutex_);
  std::erase_if(scorers_, [](const auto& entry) { return entry.second.expired(); });
  scorers_[key] = scorer;
  return scorer;
}

Result<void> Models::set_baseline(const access::Actor& actor, std::string_view model_name, std::int64_t number,
                                  const statistics::Baseline& baseline) {
  const std::string text = json::encode(baseline);
  if (text.size() > kBaselineBytesMax) {
    return fail(Code::kTooLarge, "models.baseline_too_long", fmt::format("The baseline has {} bytes.", text.size()),
                fmt::format("Keep it below {} bytes: fewer features or categories.", kBaselineBytesMax));
  }
  return parts_.database.write([&](sql::Tx& tx) -> Result<void> {
    const Version owner = TM_TRY(version(tx, model_name, number));
    if (const auto kept = TM_TRY(store::baseline(tx, model_name, number))) {
      if (*kept == text) return {};
      return fail(Code::kFailedPrecondition, "models.baseline_kept",
                  fmt::format("Version {} of '{}' has a baseline already.", number, model_name),
                  "Register a new version.");
    }
    TM_CHECK(store::set_baseline(tx, owner, text));
    return emit(tx, actor, events_of::kBaselineKept, subject_of(model_name, number),
                {{"features", baseline.features.size()}, {"digest", sha256_hex(text)}});
  });
}

Result<std::optional<statistics::Baseline>> Models::baseline(std::string_view model_name, std::int64_t number) {
  const auto text = TM_TRY(parts_.database.read([&](sql::Tx& tx) -> Result<std::optional<std::string>> {
    TM_TRY(version(tx, model_name, number));
    return store::baseline(tx, model_name, number);
  }));
  if (!text) return std::optional<statistics::Baseline>();
  return std::optional(TM_TRY(json::decode<statistics::Baseline>(*text)));
}

}  // namespace tidemill::models
