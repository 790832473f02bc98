// Artefacts through this server: what clients reach by mlflow-artifacts:/ addresses.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "api/mlflow/parts.h"
#include "base/files.h"

namespace tidemill::mlflow {
namespace {

constexpr std::uint64_t kInMemoryBytesMax = 1u << 20;      // larger files go to the client by way of the disk
constexpr std::uint64_t kSmallUploadBytesMax = 10u << 20;  // MLflow's own limit of upload-artifact
constexpr int kDecodingsMax = 8;

std::string_view content_type_of(std::string_view path) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kTypes{{{".txt", "text/plain"},
                                                                                  {".log", "text/plain"},
                                                                                  {".yaml", "text/plain"},
                                                                                  {".yml", "text/plain"},
                                                                                  {".py", "text/plain"},
                                                                                  {".md", "text/plain"},
                                                                                  {".csv", "text/csv"},
                                                                                  {".json", "application/json"},
                                                                                  {".html", "text/html"},
                                                                                  {".svg", "image/svg+xml"},
                                                                                  {".png", "image/png"},
                                                                                  {".jpg", "image/jpeg"},
                                                                                  {".jpeg", "image/jpeg"},
                                                                                  {".gif", "image/gif"},
                                                                                  {".pdf", "application/pdf"},
                                                                                  {"MLmodel", "text/plain"}}};
  for (const auto& [ending, type] : kTypes) {
    if (path.ends_with(ending)) return type;
  }
  return "application/octet-stream";
}

// RFC 6266: an ASCII name for old readers, the true one escaped beside it.
std::string disposition_of(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  std::string plain;
  std::string escaped;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool safe =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' || c == '_' || c == '-';
    plain += safe ? c : '_';
    escaped += safe ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  if (plain == name) return fmt::format("attachment; filename={}", plain);
  return fmt::format("attachment; filename={}; filename*=UTF-8''{}", plain, escaped);
}

Result<std::string> upload(runs::Runs& runs, const http::Request& request,
                           const std::filesystem::path& scratch_folder) {
  const std::string& path = request.param("path");
  TM_CHECK(check_safe(path));
  if (!request.body_file.empty()) {
    TM_CHECK(runs.put_artefact(request.actor, path, request.body_file));
    return std::string(kNothing);
  }
  const auto empty = TM_TRY(TemporaryFolder::create(scratch_folder));
  TM_CHECK(write_file_durably(empty.path() / "empty", ""));
  TM_CHECK(runs.put_artefact(request.actor, path, empty.path() / "empty"));
  return std::string(kNothing);
}

// Appends the entries of a folder of our store, each with `shown` before its name.
Result<void> write_entries(JsonText& json, runs::Runs& runs, const std::string& folder, const std::string& shown) {
  const auto entries = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.entries(tx, folder); }));
  json.key("files").begin_array();
  for (const runs::Entry& entry : entries) {
    json.begin_object().text("path", shown + entry.name).boolean("is_dir", entry.is_folder);
    if (!entry.is_folder) json.integer("file_size", static_cast<std::int64_t>(entry.bytes));
    json.end_object();
  }
  json.end_array();
  return {};
}

// Clients end folders with a slash at times.
std::string without_slash(std::string path) {
  while (path.ends_with('/')) path.pop_back();
  return path;
}

Result<std::string> list(runs::Runs& runs, const Call& call) {
  const std::string path = without_slash(TM_TRY(call.fields.text("path")));
  TM_CHECK(check_safe(path));
  JsonText json;
  json.begin_object();
  TM_CHECK(write_entries(json, runs, path, ""));
  json.end_object();
  return json.take();
}

Result<std::string> list_of_run(runs::Runs& runs, const Call& call) {
  const auto id = TM_TRY(run_id(TM_TRY(call.fields.required("run_id", "run_uuid"))));
  const std::string path = without_slash(TM_TRY(call.fields.text("path")));
  TM_CHECK(check_safe(path));
  const auto info = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.info(tx, id); }));
  const std::string uri = artifact_uri(info);
  const auto root = own_path(uri);
  if (!root) {
    return fail(Code::kUnimplemented, "mlflow.foreign_artifacts",
                fmt::format("The artifacts of run {} lie at '{}', not here.", id.str(), uri), "List them there.");
  }
  JsonText json;
  json.begin_object().text("root_uri", uri);
  TM_CHECK(write_entries(json, runs, path.empty() ? *root : *root + "/" + path, path.empty() ? "" : path + "/"));
  json.end_object();
  return json.take();
}

// A small file into a run or out of a logged model, as MLflow's console asks for them.
Result<std::string> upload_to_run(runs::Runs& runs, const http::Request& request,
                                  const std::filesystem::path& scratch_folder) {
  const auto query = [&](std::string_view name) { return request.query.get(name).value_or(""); };
  const auto refuse = [](std::string message) {
    return fail(Code::kInvalidArgument, "mlflow.bad_upload", std::move(message), "See docs/reference/mlflow.md.");
  };
  if (query("run_uuid").empty()) return refuse("Request must specify run_uuid.");
  const std::string path = query("path");
  if (path.empty()) return refuse("Request must specify path.");
  TM_CHECK(check_safe(path));
  if (request.body.empty()) return refuse("Request must specify data.");
  const auto id = TM_TRY(run_id(query("run_uuid")));
  const auto info = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.info(tx, id); }));
  const auto root = own_path(artifact_uri(info));
  if (!root) {
    return fail(Code::kUnimplemented, "mlflow.foreign_artifacts", "The artifacts of this run lie elsewhere.",
                "Write them there.");
  }
  const auto folder = TM_TRY(TemporaryFolder::create(scratch_folder));
  TM_CHECK(write_file_durably(folder.path() / "data", request.body));
  TM_CHECK(runs.put_artefact(request.actor, *root + "/" + path, folder.path() / "data"));
  return std::string(kNothing);
}

Result<http::Response> download_of_model(runs::Runs& runs, const std::filesystem::path& scratch_folder,
                                         const http::Request& request) {
  const auto id = TM_TRY(runs::LoggedModelId::parse(request.param("model_id")));
  const std::string path = TM_TRY(TM_TRY(Fields::of(request)).required("artifact_file_path"));
  TM_CHECK(check_safe(path));
  const auto model = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.model(tx, id); }));
  const auto root = own_path(artifact_uri(model));
  if (!root) {
    return fail(Code::kUnimplemented, "mlflow.foreign_artifacts", "The artifacts of this model lie elsewhere.",
                "Read them there.");
  }
  return download_artifact(runs, scratch_folder, *root + "/" + path);
}

Result<http::Response> download_of_run(runs::Runs& runs, const std::filesystem::path& scratch_folder,
                                       const http::Request& request) {
  const Fields fields = TM_TRY(Fields::of(request));
  const auto id = TM_TRY(run_id(TM_TRY(fields.required("run_id", "run_uuid"))));
  const std::string path = TM_TRY(fields.required("path"));
  TM_CHECK(check_safe(path));
  const auto info = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.info(tx, id); }));
  const auto root = own_path(artifact_uri(info));
  if (!root)
    return fail(Code::kUnimplemented, "mlflow.foreign_artifacts", "The artifacts of this run lie elsewhere.",
                "Read them there.");
  return download_artifact(runs, scratch_folder, *root + "/" + path);
}

http::Response response_of(Result<http::Response> result) {
  return result ? *std::move(result) : error_response(result.error());
}

}  // namespace

// Refuses what leads elsewhere, however often it is escaped: a proxy or a client may have decoded it once more or once
// less than we did. The path itself is taken as it came; the room checks that again by its own rule.
Result<void> check_safe(std::string_view path) {
  const auto refuse = [&] {
    return fail(Code::kInvalidArgument, "mlflow.bad_path", fmt::format("Invalid path: '{}'.", path.substr(0, 256)),
                "Give a relative path without '..', '#' and drive letters.");
  };
  std::string text(path);
  for (int i = 0; i < kDecodingsMax; ++i) {
    const bool drive = text.size() >= 2 && text[1] == ':' && (text.size() == 2 || text[2] == '/' || text[2] == '\\');
    if (text.starts_with('/') || text.find('#') != std::string::npos || text.find('\\') != std::string::npos || drive)
      return refuse();
    for (std::size_t from = 0; from <= text.size();) {
      const std::size_t slash = std::min(text.find('/', from), text.size());
      if (text.substr(from, slash - from) == "..") return refuse();
      from = slash + 1;
    }
    if (text.find('%') == std::string::npos) return {};
    auto decoded = http::percent_decode(text);
    if (!decoded) {
      // A stray '%' is part of a name; a NUL or broken UTF-8 behind one is not.
      return decoded.error().reason == "http.bad_escape" && text.find("%00") == std::string::npos ? Result<void>()
                                                                                                  : refuse();
    }
    text = *std::move(decoded);
  }
  return refuse();
}

Result<http::Response> download_artifact(runs::Runs& runs, const std::filesystem::path& scratch_folder,
                                         const std::string& path) {
  TM_CHECK(check_safe(path));
  const auto artefact = TM_TRY(runs.database().read([&](sql::Tx& tx) { return runs.artefact(tx, path); }));
  const auto blob = blobs::BlobId::trusted(artefact.blob);
  http::Response response;
  response.content_type = content_type_of(path);
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("Content-Disposition", disposition_of(path));
  if (artefact.bytes <= kInMemoryBytesMax) {
    response.body = TM_TRY(runs.blobs().read(blob, kInMemoryBytesMax));
  } else {
    const auto file = scratch_folder / ("download-" + generate_hex_id());
    TM_CHECK(runs.blobs().copy_to(blob, file));
    response.file = http::FileBody{file, true};
  }
  return response;
}

void add_artifacts(Endpoints& endpoints, runs::Runs& runs, const std::filesystem::path& scratch_folder) {
  const std::string_view file = "/mlflow-artifacts/artifacts/{path...}";
  endpoints.add(Method::get, "/mlflow-artifacts/artifacts", Right::read, "List a folder of artefacts",
                [&runs](const Call& call) { return list(runs, call); });
  endpoints.add(Method::get, "/mlflow/artifacts/list", Right::read, "List artefacts of a run",
                [&runs](const Call& call) { return list_of_run(runs, call); });
  endpoints.add_raw(Method::get, file, Right::read, "Download an artefact", http::Body::none,
                    [&runs, scratch_folder](const http::Request& request, const http::Done& done) {
                      done(response_of(download_artifact(runs, scratch_folder, request.param("path"))));
                    },
                    {.content_type = "application/octet-stream"});
  endpoints.add_raw(Method::get, "/mlflow/get-artifact", Right::read, "Download an artefact of a run", http::Body::none,
                    [&runs, scratch_folder](const http::Request& request, const http::Done& done) {
                      done(response_of(download_of_run(runs, scratch_folder, request)));
                    },
                    {.content_type = "application/octet-stream"});
  endpoints.add_raw(Method::get, "/mlflow/logged-models/{model_id}/artifacts/files", Right::read,
                    "Download an artefact of a logged model", http::Body::none,
                    [&runs, scratch_folder](const http::Request& request, const http::Done& done) {
                      done(response_of(download_of_model(runs, scratch_folder, request)));
                    },
                    {.content_type = "application/octet-stream"});
  endpoints.add_raw(Method::post, "/mlflow/upload-artifact", Right::write, "Upload a small artefact of a run",
                    http::Body::bytes,
                    [&runs, scratch_folder](const http::Request& request, const http::Done& done) {
                      done(answer(upload_to_run(runs, request, scratch_folder)));
                    },
                    {.body_bytes_max = kSmallUploadBytesMax});
  endpoints.add_raw(Method::put, file, Right::write, "Upload an artefact", http::Body::file,
                    [&runs, scratch_folder](const http::Request& request, const http::Done& done) {
                      done(answer(upload(runs, request, scratch_folder)));
                    });
  endpoints.add_raw(Method::del, file, Right::write, "Delete an artefact, or a folder of them", http::Body::none,
                    [&runs](const http::Request& request, const http::Done& done) {
                      const auto removed = [&]() -> Result<std::string> {
                        const std::string path = without_slash(request.param("path"));
                        TM_CHECK(check_safe(path));
                        TM_CHECK(runs.delete_artefacts(request.actor, path));
                        return std::string(kNothing);
                      };
                      done(answer(removed()));
                    });
}

}  // namespace tidemill::mlflow
