// Artefacts in parts. MLflow hands out signed addresses of a cloud store; here the parts come to this server, with the
// credentials of whoever began the upload, which its answer gives back to him.
#include <fmt/format.h>

#include <memory>

#include "api/mlflow/parts.h"
#include "flow/runs/uploads.h"

namespace tidemill::mlflow {
namespace {

// The place of the artefact: the folder in the address, the last part of the file's name on the client's disk.
Result<std::string> target_of(const Call& call) {
  const std::string local = TM_TRY(call.fields.required("path"));
  const std::string path = call.request.param("path") + "/" + local.substr(local.find_last_of("/\\") + 1);
  TM_CHECK(check_safe(path));
  return path;
}

std::string address_of(const http::Request& request, const std::string& id, std::int64_t number) {
  const bool secure = request.headers.get("X-Forwarded-Proto").value_or("") == "https";
  return fmt::format("{}://{}/api/2.0/mlflow-artifacts/mpu/parts/{}/{}", secure ? "https" : "http",
                     request.headers.get("Host").value_or("localhost"), id, number);
}

Result<std::string> begin(runs::Uploads& uploads, const Call& call) {
  const std::int64_t parts = TM_TRY(call.fields.required_integer("num_parts"));
  const std::string id = TM_TRY(uploads.begin(call.actor, TM_TRY(target_of(call)), parts));
  const auto credentials = call.request.headers.get("Authorization");
  JsonText json;
  json.begin_object().text("upload_id", id).key("credentials").begin_array();
  for (std::int64_t number = 1; number <= parts; ++number) {
    json.begin_object().text("url", address_of(call.request, id, number)).integer("part_number", number);
    json.key("headers").begin_object();
    if (credentials) json.text("Authorization", *credentials);
    json.end_object().end_object();
  }
  json.end_array().end_object();
  return json.take();
}

http::Response put(runs::Uploads& uploads, const http::Request& request) {
  const auto tag = [&]() -> Result<std::string> {
    const std::int64_t number = TM_TRY(request.number_param("number"));
    return uploads.put_part(request.actor, request.param("upload"), number, request.body_file);
  }();
  if (!tag) return error_response(tag.error());
  http::Response response = answer(std::string(kNothing));
  response.headers.emplace_back("ETag", fmt::format("\"{}\"", *tag));
  return response;
}

Result<std::string> complete(runs::Uploads& uploads, const Call& call) {
  std::vector<runs::UploadPart> parts;
  for (const Fields& part : TM_TRY(call.fields.objects("parts"))) {
    std::string tag = TM_TRY(part.text("etag"));
    std::erase(tag, '"');
    parts.push_back({TM_TRY(part.required_integer("part_number")), std::move(tag)});
  }
  const std::string id = TM_TRY(call.fields.required("upload_id"));
  TM_CHECK(uploads.complete(call.actor, id, TM_TRY(target_of(call)), parts));
  return std::string(kNothing);
}

Result<std::string> abort(runs::Uploads& uploads, const Call& call) {
  const std::string id = TM_TRY(call.fields.required("upload_id"));
  TM_CHECK(uploads.abort(call.actor, id, TM_TRY(target_of(call))));
  return std::string(kNothing);
}

}  // namespace

void add_multipart(Endpoints& endpoints, runs::Runs& runs, const std::filesystem::path& scratch_folder) {
  const auto uploads = std::make_shared<runs::Uploads>(runs, scratch_folder);  // lives as long as the routes
  endpoints.add(Method::post, "/mlflow-artifacts/mpu/create/{path...}", Right::write, "Begin an upload in parts",
                [uploads](const Call& call) { return begin(*uploads, call); });
  endpoints.add(Method::post, "/mlflow-artifacts/mpu/complete/{path...}", Right::write, "Make a file of its parts",
                [uploads](const Call& call) { return complete(*uploads, call); });
  endpoints.add(Method::post, "/mlflow-artifacts/mpu/abort/{path...}", Right::write, "Drop an upload in parts",
                [uploads](const Call& call) { return abort(*uploads, call); });
  endpoints.add_raw(Method::put, "/mlflow-artifacts/mpu/parts/{upload}/{number}", Right::write, "Upload a part",
                    http::Body::file,
                    [uploads](const http::Request& request, const http::Done& done) { done(put(*uploads, request)); });
}

}  // namespace tidemill::mlflow
