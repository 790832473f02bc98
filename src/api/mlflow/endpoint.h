// How an endpoint of MLflow's protocol is written down, and what all of them share: error bodies, page tokens,
// addresses of artefacts.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/route.h"
#include "api/mlflow/fields.h"
#include "base/result.h"
#include "flow/runs/types.h"

namespace tidemill::mlflow {

using http::Method;
using http::Right;

// Returns {"error_code", "message"} with the status that MLflow's server gives for the code. Differs from
// http::status_of: what exists already is 400 there, and clients repeat whatever is 429 or 5xx.
[[nodiscard]] http::Response error_response(const Error& error);

// A request being answered.
struct Call {
  const http::Request& request;
  const Fields& fields;
  const access::Actor& actor;
};

// Returns the JSON text of the answer.
using Handler = std::function<Result<std::string>(const Call&)>;

// Collects routes. Each stands at /api/2.0 (or 3.0) and, for the browser console, at /ajax-api/2.0.
class Endpoints {
 public:
  enum class Version { v2, v3 };
  explicit Endpoints(Version version = Version::v2) : version_(version) {}

  // `path` begins with /mlflow.
  void add(Method method, std::string_view path, Right right, std::string_view summary, Handler handler);
  // The handler answers through Done, now or later, with what `answer` makes of its result.
  void add_async(Method method, std::string_view path, Right right, std::string_view summary,
                 std::function<void(const Call&, std::function<void(Result<std::string>)>)> handler);
  // Takes whole routes at both places.
  void add_raw(Method method, std::string_view path, Right right, std::string_view summary, http::Body body,
               const std::function<void(http::Request&&, http::Done)>& handle, http::Options options = {});

  [[nodiscard]] std::vector<http::Route> take() { return std::move(routes_); }

 private:
  const Version version_;
  std::vector<http::Route> routes_;
};

// Returns the answer to a result: its text as JSON, or the error.
[[nodiscard]] http::Response answer(Result<std::string> result);

// Page tokens: base64 of {"offset": N}, opaque to clients. An empty token is the first page.
[[nodiscard]] std::string page_token(std::int64_t offset);
[[nodiscard]] Result<std::int64_t> offset_of(std::string_view token);

// "mlflow-artifacts:/<path>" for what lies in our own store.
[[nodiscard]] std::string artifact_uri(const runs::Experiment& experiment);
[[nodiscard]] std::string artifact_uri(const runs::RunInfo& run);
[[nodiscard]] std::string artifact_uri(const runs::LoggedModel& model);
// Returns the path in our own store, or nothing when the address leads elsewhere.
[[nodiscard]] std::optional<std::string> own_path(std::string_view uri);

// Returns the id, or kNotFound: MLflow takes other forms of ids than ours, so one of another form is merely unknown.
[[nodiscard]] Result<runs::RunId> run_id(const std::string& text);
[[nodiscard]] Result<std::vector<runs::KeyValue>> pairs(const Fields& fields, std::string_view name);
[[nodiscard]] Result<runs::View> view_type(const Fields& fields, std::string_view name);

}  // namespace tidemill::mlflow
