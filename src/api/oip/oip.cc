#include "api/oip/oip.h"

#include <fmt/format.h>

#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "api/oip/metadata.h"
#include "api/oip/offload.h"
#include "api/oip/request.h"
#include "api/oip/response.h"

namespace tidemill::oip {
namespace {

using access::Right;
using http::Method;
using http::Request;
using http::Response;
using predictions::Loaded;

// A deployment as a request names it: what is loaded, and the version that the request's form is read by.
struct Target {
  std::shared_ptr<const Loaded> loaded;
  std::shared_ptr<const models::Scorer> scorer;
  std::int64_t version = 0;  // 0 = none named
};

class Service {
 public:
  Service(predictions::Predictions& predictions, const Clock& clock, Settings settings)
      : predictions_(predictions),
        clock_(clock),
        settings_(settings),
        offload_(static_cast<std::size_t>(settings.large_threads),
                 static_cast<std::size_t>(settings.large_waiting_max)) {}

  [[nodiscard]] Result<Target> target(const Request& request) const;
  void infer(Request&& request, const http::Done& done);
  [[nodiscard]] const Settings& settings() const { return settings_; }

 private:
  void infer_now(const Request& request, const http::Done& done);

  predictions::Predictions& predictions_;
  const Clock& clock_;
  const Settings settings_;
  Offload offload_;  // last: its tasks use the others
};

Result<Target> Service::target(const Request& request) const {
  const std::string& name = request.param("model");
  Target target;
  target.loaded = TM_TRY(predictions_.serving(name));
  if (request.params.contains("version")) target.version = TM_TRY(request.number_param("version"));
  const auto found =
      target.loaded->scorers.find(target.version == 0 ? target.loaded->deployment.champion : target.version);
  if (found == target.loaded->scorers.end()) {
    return fail(Code::kNotFound, "predictions.version_not_deployed",
                fmt::format("Version {} is not one that '{}' runs.", target.version, name),
                "Leave the version out, or take one of those that /v2/models/" + name + " names.");
  }
  target.scorer = found->second;
  return target;
}

Result<std::optional<std::uint64_t>> json_bytes_of(const Request& request) {
  const auto header = request.headers.get("Inference-Header-Content-Length");
  if (!header) return std::optional<std::uint64_t>();
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(header->data(), header->data() + header->size(), bytes);
  if (error == std::errc{} && end == header->data() + header->size() && !header->empty()) return std::optional(bytes);
  return fail(Code::kInvalidArgument, "oip.wrong_header_length", "Inference-Header-Content-Length is not a number.",
              "Send the length of the JSON part in bytes.");
}

void Service::infer(Request&& request, const http::Done& done) {
  if (request.body.size() <= static_cast<std::size_t>(settings_.inline_bytes_max)) return infer_now(request, done);
  auto kept = std::make_shared<Request>(std::move(request));
  if (offload_.submit([this, kept, done] { infer_now(*kept, done); })) return;
  done(error_response(
      {Code::kExhausted, "oip.busy", "Too many large requests are waiting.", "Try again in a second.", {}}));
}

void Service::infer_now(const Request& request, const http::Done& done) {
  auto parsed = [&]() -> Result<std::pair<Target, InferRequest>> {
    Target target = TM_TRY(this->target(request));
    InferRequest read = TM_TRY(parse_request(request.body, TM_TRY(json_bytes_of(request)), *target.scorer));
    return std::pair(std::move(target), std::move(read));
  }();
  if (!parsed) return done(error_response(parsed.error()));
  auto& [target, read] = *parsed;
  predictions::Ask ask = std::move(read.ask);
  ask.deployment = request.param("model");
  ask.version = target.version;
  ask.request_id = request.request_id;
  const std::int64_t wait_ms =
      read.timeout_us > 0 ? std::max<std::int64_t>(1, read.timeout_us / 1000) : settings_.timeout_ms_default;
  ask.deadline_ms = clock_.steady_ms() + wait_ms;
  auto kept = std::make_shared<const InferRequest>(std::move(read));
  predictions_.infer(std::move(ask), [kept, done, name = request.param("model")](Result<predictions::Answer> answer) {
    done(answer ? response_of(name, *kept, *answer) : error_response(answer.error()));
  });
}

http::Route quick(Method method, std::string path, Right right, std::string summary,
                  std::function<Response(const Request&)> handle) {
  http::Route route =
      http::raw(method, std::move(path), right, std::move(summary), http::Body::none,
                [handle = std::move(handle)](Request&& request, const http::Done& done) { done(handle(request)); },
                {.run = http::Run::inline_io});
  route.error_form = error_response;
  return route;
}

Response ready_answer(const std::shared_ptr<Service>& service, const Request& request) {
  const auto target = service->target(request);
  if (!target) return error_response(target.error());
  return Response::json(200, json::Object{{"name", target->loaded->deployment.name}, {"ready", true}});
}

Response metadata_answer(const std::shared_ptr<Service>& service, const Request& request) {
  const auto target = service->target(request);
  if (!target) return error_response(target.error());
  return Response::json(200, metadata_of(*target->loaded, *target->scorer));
}

http::Route infer_route(const std::shared_ptr<Service>& service, std::string path) {
  http::Route route = http::raw(
      Method::post, std::move(path), Right::predict, "Ask for predictions (Open Inference Protocol 2)",
      http::Body::bytes,
      [service](Request&& request, const http::Done& done) { service->infer(std::move(request), done); },
      {.body_bytes_max = static_cast<std::uint64_t>(service->settings().body_bytes_max), .run = http::Run::inline_io});
  route.error_form = error_response;
  return route;
}

}  // namespace

std::vector<http::Route> routes(predictions::Predictions& predictions, const Clock& clock, std::string version,
                                std::function<bool()> ready, Settings settings) {
  auto service = std::make_shared<Service>(predictions, clock, settings);
  std::vector<http::Route> routes;
  routes.push_back(quick(
      Method::get, "/v2", Right::read, "What this inference server is", [version = std::move(version)](const Request&) {
        return Response::json(
            200, json::Object{
                     {"name", "tidemill"}, {"version", version}, {"extensions", json::Array{"binary_tensor_data"}}});
      }));
  routes.push_back(
      quick(Method::get, "/v2/health/live", Right::open, "Whether the inference server lives", [](const Request&) {
        return Response::json(200, json::Object{{"live", true}});
      }));
  routes.push_back(quick(Method::get, "/v2/health/ready", Right::open, "Whether the inference server wants requests",
                         [ready = std::move(ready)](const Request&) {
                           const bool wanted = ready();
                           return Response::json(wanted ? 200 : 503, json::Object{{"ready", wanted}});
                         }));
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    routes.push_back(quick(Method::get, model, Right::read, "Inputs, outputs and versions of a deployment",
                           [service](const Request& request) { return metadata_answer(service, request); }));
    routes.push_back(quick(Method::get, model + "/ready", Right::read, "Whether a deployment answers",
                           [service](const Request& request) { return ready_answer(service, request); }));
    routes.push_back(infer_route(service, model + "/infer"));
  }
  return routes;
}

}  // namespace tidemill::oip
