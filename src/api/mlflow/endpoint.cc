#include "api/mlflow/endpoint.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>

#include "api/mlflow/json_text.h"
#include "base/base64.h"

namespace tidemill::mlflow {
namespace {

constexpr std::array<std::string_view, 2> kPlaces{"/api/2.0", "/ajax-api/2.0"};
constexpr std::array<std::string_view, 2> kPlacesOfV3{"/api/3.0", "/ajax-api/3.0"};
constexpr std::string_view kOwnScheme = "mlflow-artifacts:";
constexpr std::size_t kTokenBytesMax = 128;

struct Mapping {
  std::string_view name;
  int status;
};

Mapping mapping_of(const Error& error) {
  switch (error.code) {
    case Code::kInvalidArgument:
      return {"INVALID_PARAMETER_VALUE", 400};
    case Code::kUnauthenticated:
      return {"UNAUTHENTICATED", 401};
    case Code::kPermissionDenied:
      return {"PERMISSION_DENIED", 403};
    case Code::kNotFound:
      return {"RESOURCE_DOES_NOT_EXIST", 404};
    case Code::kAlreadyExists:
      return {"RESOURCE_ALREADY_EXISTS", 400};
    case Code::kConflict:
      return {"RESOURCE_CONFLICT", 409};
    case Code::kFailedPrecondition:
      return {"INVALID_STATE", 400};
    case Code::kTooLarge:
      return {"INVALID_PARAMETER_VALUE", 413};
    case Code::kExhausted:
      // A full disk does not empty by itself: 507, which clients do not repeat.
      if (error.reason == "storage.disk_full") return {"RESOURCE_EXHAUSTED", 507};
      return {"REQUEST_LIMIT_EXCEEDED", 429};
    case Code::kUnavailable:
      return {"TEMPORARILY_UNAVAILABLE", 503};
    case Code::kUnimplemented:
      return {"NOT_IMPLEMENTED", 501};
    case Code::kInternal:
      return {"INTERNAL_ERROR", 500};
  }
  return {"INTERNAL_ERROR", 500};
}

// What programs written for MLflow look for in a message, in its words; other errors speak in ours.
std::string message_of(const Error& error) {
  const auto detail = [&](const char* name) {
    const auto found = error.details.find(name);
    return found == error.details.end() ? std::string() : found->second;
  };
  if (error.reason == "models.unknown")
    return fmt::format("Registered Model with name={} not found. Search the registered models.", detail("model"));
  if (error.reason == "models.unknown_version")
    return fmt::format("Model Version (name={}, version={}) not found. Search the versions of the model.",
                       detail("model"), detail("version"));
  if (error.reason == "models.exists")
    return fmt::format("Registered Model (name={}) already exists. {}", detail("model"), error.text());
  return error.text();
}

std::string beneath(std::string_view root, std::string_view own, std::string_view rest) {
  return root.empty() ? fmt::format("{}/{}", kOwnScheme, own) : fmt::format("{}/{}", root, rest);
}

}  // namespace

http::Response error_response(const Error& from) {
  const Error error = http::for_caller(from);
  const Mapping mapping = mapping_of(error);
  const std::string message = message_of(error);
  JsonText json;
  json.begin_object()
      .text("error_code", mapping.name)
      .text("message", message)
      .text("reason", error.reason)
      .end_object();
  http::Response response = http::Response::text(mapping.status, json.take(), "application/json");
  if (mapping.status == 429 || mapping.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (mapping.status == 401) response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"mlflow\"");
  return response;
}

http::Response answer(Result<std::string> result) {
  if (!result) return error_response(result.error());
  return http::Response::text(200, *std::move(result), "application/json");
}

void Endpoints::add_raw(Method method, std::string_view path, Right right, std::string_view summary, http::Body body,
                        const std::function<void(http::Request&&, http::Done)>& handle, http::Options options) {
  for (const std::string_view place : version_ == Version::v2 ? kPlaces : kPlacesOfV3) {
    http::Route route =
        http::raw(method, std::string(place) + std::string(path), right, std::string(summary), body, handle, options);
    route.error_form = error_response;
    routes_.push_back(std::move(route));
  }
}

void Endpoints::add(Method method, std::string_view path, Right right, std::string_view summary, Handler handler) {
  add_async(method, path, right, summary,
            [handler = std::move(handler)](const Call& call, const std::function<void(Result<std::string>)>& done) {
              done(handler(call));
            });
}

void Endpoints::add_async(Method method, std::string_view path, Right right, std::string_view summary,
                          std::function<void(const Call&, std::function<void(Result<std::string>)>)> handler) {
  const http::Body body = method == Method::get ? http::Body::none : http::Body::json;
  add_raw(method, path, right, summary, body, [handler = std::move(handler)](http::Request&& request, http::Done done) {
    const auto fields = Fields::of(request);
    if (!fields) return done(error_response(fields.error()));
    handler({request, *fields, request.actor},
            [done = std::move(done)](Result<std::string> result) { done(answer(std::move(result))); });
  });
}

std::string page_token(std::int64_t offset) { return encode_base64(fmt::format("{{\"offset\": {}}}", offset)); }

Result<std::int64_t> offset_of(std::string_view token) {
  if (token.empty()) return 0;
  constexpr std::string_view kBegin = "{\"offset\": ";
  const auto text = token.size() > kTokenBytesMax ? std::nullopt : decode_base64(token);
  if (text && text->starts_with(kBegin) && text->ends_with('}')) {
    std::int64_t offset = 0;
    const char* last = text->data() + text->size() - 1;
    const auto [end, error] = std::from_chars(text->data() + kBegin.size(), last, offset);
    if (error == std::errc{} && end == last && offset >= 0) return offset;
  }
  return fail(Code::kInvalidArgument, "mlflow.bad_page_token", "Invalid page token, could not be decoded.",
              "Use the one of the last answer.");
}

std::string artifact_uri(const runs::Experiment& experiment) {
  return experiment.artefact_root.empty() ? fmt::format("{}/{}", kOwnScheme, experiment.id.str())
                                          : experiment.artefact_root;
}

std::string artifact_uri(const runs::RunInfo& run) {
  return beneath(run.artefact_root, runs::artefact_folder(run), run.id.str() + "/artifacts");
}

std::string artifact_uri(const runs::LoggedModel& model) {
  return beneath(model.artefact_root, runs::artefact_folder(model), "models/" + model.id.str() + "/artifacts");
}

std::optional<std::string> own_path(std::string_view uri) {
  if (!uri.starts_with(kOwnScheme)) return std::nullopt;
  uri.remove_prefix(kOwnScheme.size());
  if (uri.starts_with("//")) {  // mlflow-artifacts://host:port/path, which clients make of it
    uri.remove_prefix(2);
    const std::size_t slash = uri.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    uri.remove_prefix(slash);
  }
  while (uri.starts_with('/')) uri.remove_prefix(1);
  return std::string(uri);
}

Result<runs::RunId> run_id(const std::string& text) {
  if (is_hex_id(text)) return runs::RunId::trusted(text);
  return fail(Code::kNotFound, "runs.unknown", fmt::format("Run '{}' not found.", text.substr(0, 256)),
              "Search the runs of its experiment.");
}

Result<std::vector<runs::KeyValue>> pairs(const Fields& fields, std::string_view name) {
  std::vector<runs::KeyValue> out;
  for (const Fields& item : TM_TRY(fields.objects(name)))
    out.push_back({TM_TRY(item.text("key")), TM_TRY(item.text("value"))});
  return out;
}

Result<runs::View> view_type(const Fields& fields, std::string_view name) {
  // Protobuf's JSON gives an enumerator by name or by number.
  const auto number = fields.maybe_integer(name);
  const std::string text = number && *number ? std::to_string(**number) : TM_TRY(fields.text(name));
  if (text.empty() || text == "ACTIVE_ONLY" || text == "1") return runs::View::active;
  if (text == "DELETED_ONLY" || text == "2") return runs::View::deleted;
  if (text == "ALL" || text == "3") return runs::View::all;
  return invalid_value(name, json::Value(text), "ACTIVE_ONLY, DELETED_ONLY or ALL");
}

}  // namespace tidemill::mlflow
