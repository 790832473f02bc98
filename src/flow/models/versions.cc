// Versions: registering, reading, and the texts about them that may change.
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
namespace {

std::unexpected<Error> bad_version(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "models.version_invalid", std::move(message), std::move(remedy));
}

// What makes two versions the same model: content, not words about it.
std::string content_digest(const NewVersion& version) {
  json::Object files;
  for (const auto& [path, file] : version.files) files[path] = file.blob;
  return sha256_hex(json::canonical(json::Object{{"files", files},
                                                 {"onnx", version.onnx},
                                                 {"columns", json::to_json(version.signature.columns)},
                                                 {"label_column", version.signature.label_column}}));
}

Result<void> check_files(blobs::Store& blobs, const NewVersion& version) {
  if (version.files.size() > kFilesMax) {
    return fail(Code::kTooLarge, "models.too_many_files",
                fmt::format("The version has {} files.", version.files.size()),
                fmt::format("Keep at most {}; pack the others into an archive.", kFilesMax));
  }
  for (const auto& [path, file] : version.files) {
    TM_TRY(path_beneath("/", path));  // the path is only a name here, but clients will unpack it somewhere
    if (!TM_TRY(blobs.has(TM_TRY(blobs::BlobId::parse(file.blob))))) {
      return bad_version(fmt::format("File '{}' names the blob {}, which is not stored.", path, file.blob),
                         "Upload the file first.");
    }
  }
  if (!version.onnx.empty() && !version.files.contains(version.onnx)) {
    return bad_version(fmt::format("The ONNX file '{}' is not one of the files.", version.onnx),
                       "List it among the files.");
  }
  if (version.parity && (version.onnx.empty() || version.parity->onnx != version.files.at(version.onnx).blob)) {
    return fail(Code::kFailedPrecondition, "models.parity_of_another_file",
                "The parity proof was made with another ONNX file than the one to be registered.",
                "Run models.parity on this very file.");
  }
  return {};
}

// The matrix that the model takes must be the one that the columns describe.
Result<void> check_fit(const Signature& signature, const runtimes::Probe& probe) {
  if (signature.columns.empty()) return {};
  TM_TRY(Encoder::create(signature.columns));
  if (!probe.score_rule) {
    return bad_version(fmt::format("The model gives no score for its columns. {}", probe.score_problem),
                       "Export it as the score rule of docs/reference/models.md says.");
  }
  const auto columns = static_cast<std::int64_t>(signature.columns.size());
  if (probe.columns != 0 && probe.columns != columns) {
    return bad_version(fmt::format("The model takes {} columns, but columns.json lists {}.", probe.columns, columns),
                       "List exactly the columns of the matrix that it was trained on, in order.");
  }
  return {};
}

}  // namespace

Result<Version> Models::add_version(const access::Actor& actor, const NewVersion& wanted) {
  const auto existing_one = TM_TRY(parts_.database.read([&](sql::Tx& tx) -> Result<std::optional<Version>> {
    TM_CHECK(model(tx, wanted.model));
    if (wanted.once_key.empty()) return std::optional<Version>();
    return store::find_once(tx, wanted.once_key);
  }));
  if (existing_one) return *existing_one;

  TM_CHECK(check_description(wanted.description));
  TM_CHECK(check_tags(wanted.tags));
  TM_CHECK(check_files(parts_.blobs, wanted));
  store::Content content{wanted.files, wanted.signature.columns, wanted.signature.label_column, {}, {}, wanted.lineage,
                         wanted.parity};
  if (!wanted.onnx.empty()) {
    const auto probe = TM_TRY(parts_.prober.accept(TM_TRY(unpacked(wanted.files.at(wanted.onnx).blob))));
    TM_CHECK(check_fit(wanted.signature, probe));
    content.inputs = probe.inputs;
    content.outputs = probe.outputs;
  }
  return parts_.database.write([&](sql::Tx& tx) { return insert_version(tx, actor, wanted, content); });
}

Result<Version> Models::insert_version(sql::Tx& tx, const access::Actor& actor, const NewVersion& wanted,
                                       const store::Content& content) {
  if (!wanted.once_key.empty()) {  // again, now that nobody else can write
    if (auto found = TM_TRY(store::find_once(tx, wanted.once_key))) return *std::move(found);
  }
  TM_TRY(model(tx, wanted.model));
  Version added;
  added.model = wanted.model;
  added.number = TM_TRY(wanted.number ? store::take_number(tx, wanted.model, *wanted.number)
                                      : store::next_number(tx, wanted.model));
  added.description = wanted.description;
  added.source = wanted.source;
  added.run_id = wanted.run_id;
  added.run_link = wanted.run_link;
  added.digest = content_digest(wanted);
  added.onnx = wanted.onnx;
  added.tags = wanted.tags;
  added.made_by = actor.name;
  added.made_ms = wanted.made_ms.value_or(parts_.clock.now_ms());
  TM_CHECK(store::add_version(tx, added, content, wanted.once_key));
  TM_CHECK(store::touch_model(tx, wanted.model, added.made_ms));
  json::Object files;
  for (const auto& [path, file] : wanted.files) {
    if (files.size() < kFilesInEvent) files[path] = file.blob;
  }
  TM_CHECK(emit(tx, actor, events_of::kVersionRegistered, subject_of(added.model, added.number),
                {{"digest", added.digest},
                 {"files", files},
                 {"files_count", wanted.files.size()},
                 {"lineage", json::to_json(wanted.lineage)},
                 {"parity", json::to_json(wanted.parity)},
                 {"run_id", wanted.run_id},
                 {"source", wanted.source}}));
  return version(tx, added.model, added.number);
}

Result<VersionDetail> Models::detail(std::string_view model_name, std::int64_t number) {
  return parts_.database.read([&](sql::Tx& tx) -> Result<VersionDetail> {
    VersionDetail detail;
    static_cast<Version&>(detail) = TM_TRY(version(tx, model_name, number));
    auto content = TM_TRY(store::find_content(tx, model_name, number));
    if (!content) return unknown_version(model_name, number);
    detail.files = std::move(content->files);
    detail.columns = std::move(content->columns);
    detail.label_column = std::move(content->label_column);
    detail.inputs = std::move(content->inputs);
    detail.outputs = std::move(content->outputs);
    detail.lineage = std::move(content->lineage);
    detail.parity = std::move(content->parity);
    detail.tests = TM_TRY(store::gate_reports(tx, model_name, number));
    detail.has_baseline = TM_TRY(store::baseline(tx, model_name, number)).has_value();
    return detail;
  });
}

Result<Version> Models::describe_version(sql::Tx& tx, const access::Actor& actor, std::string_view model_name,
                                         std::int64_t number, std::string_view description) {
  TM_CHECK(check_description(description));
  const Version before = TM_TRY(version(tx, model_name, number));
  TM_CHECK(store::describe_version(tx, before, description, parts_.clock.now_ms()));
  TM_CHECK(emit(tx, actor, events_of::kDescribed, subject_of(model_name, number), {{"description", description}}));
  return version(tx, model_name, number);
}

Result<void> Models::tag_version(sql::Tx& tx, const access::Actor& actor, std::string_view model_name,
                                 std::int64_t number, std::string_view key, std::optional<std::string_view> value) {
  TM_CHECK(check_tag(key, value));
  const Version before = TM_TRY(version(tx, model_name, number));
  if (!value && !before.tags.contains(std::string(key))) return {};
  TM_CHECK(store::tag_version(tx, before, key, value));
  return emit(tx, actor, events_of::kTagged, subject_of(model_name, number),
              {{"key", key}, {"value", value ? json::Value(*value) : json::Value(nullptr)}});
}

}  // namespace tidemill::models
