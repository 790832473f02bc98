// What a route is: one record, from which routing, the right to it, decoding, the OpenAPI document and the metrics
// come.
//
//   routes.push_back(http::post<NewRun, Run>("/api/runs", Right::write, "Start a run",
//       [&](const http::Request& request, NewRun run) { return runs.start(request.actor, run); }, {.status = 201}));
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "access/types.h"
#include "api/http/message.h"
#include "base/json.h"
#include "base/result.h"

namespace tidemill::http {

using access::Right;

// How the body arrives: not at all, as text of bounded size, or streamed to a file.
enum class Body { none, json, bytes, file };

// Where the handler runs: on a worker, where it may block; or on the I/O thread, where it must not and calls `done`
// when it likes.
enum class Run { pool, inline_io };

constexpr std::uint64_t kJsonBytesMax = 16u << 20;
constexpr std::uint64_t kUploadBytesMax = 64ull << 30;

// What may be said about a route beside its essentials.
struct Options {
  int status = 200;                  // of success
  std::uint64_t body_bytes_max = 0;  // 0 = kJsonBytesMax, or kUploadBytesMax for uploads
  Run run = Run::pool;
  std::string content_type = "application/json";  // of the answer, for the OpenAPI document
};

// Has no default constructor on purpose: a route without its right does not compile.
struct Route {
  Route(Method method_, std::string path_, Right right_, std::string summary_,
        std::function<void(Request&&, Done)> handle_)
      : method(method_),
        path(std::move(path_)),
        right(right_),
        summary(std::move(summary_)),
        handle(std::move(handle_)) {}

  Method method;
  std::string path;  // "/api/runs/{id}"; a last segment "{name...}" takes the rest of the path, slashes included
  Right right;
  std::string summary;
  std::function<void(Request&&, Done)> handle;

  Body body = Body::none;
  std::uint64_t body_bytes_max = 0;
  Run run = Run::pool;
  int status = 200;
  std::string content_type = "application/json";
  // Write the schemas of body, query and answer; empty where there is none.
  std::function<json::Value(json::Schemas&)> body_schema;
  std::function<json::Value(json::Schemas&)> query_schema;
  std::function<json::Value(json::Schemas&)> answer_schema;
  // Answers an error in the protocol's own form; empty = Response::error.
  std::function<Response(const Error&)> error_form;
};

// A query string decoded as a struct, field by field: integers, numbers, true/false, text, described enums, optional of
// these, and vectors (a name that comes several times). An unknown name is kInvalidArgument.
template <class In>
[[nodiscard]] Result<In> decode_query(const Query& query);

namespace detail {

[[nodiscard]] Result<json::Value> query_value(std::string_view text, std::string_view name,
                                              std::string_view schema_type);

template <class Out>
[[nodiscard]] Response answer(int status, Result<Out>&& result) {
  if (!result) return Response::error(result.error());
  if constexpr (std::is_void_v<Out>) {
    return Response::json(status, json::Object{});
  } else if constexpr (std::is_same_v<Out, Response>) {
    return *std::move(result);
  } else {
    return Response::json(status, json::to_json(*result));
  }
}

template <class Out>
void set_answer(Route& route, const Options& options) {
  route.status = options.status;
  route.run = options.run;
  route.content_type = options.content_type;
  if constexpr (!std::is_void_v<Out> && !std::is_same_v<Out, Response>) {
    route.answer_schema = [](json::Schemas& schemas) { return json::schema_of<Out>(schemas); };
  }
}

template <class In>
void set_body(Route& route, const Options& options) {
  route.body = Body::json;
  route.body_bytes_max = options.body_bytes_max == 0 ? kJsonBytesMax : options.body_bytes_max;
  route.body_schema = [](json::Schemas& schemas) { return json::schema_of<In>(schemas); };
}

template <class In, class Out, class F>
[[nodiscard]] Route with_body(Method method, std::string path, Right right, std::string summary, F function,
                              const Options& options) {
  Route route(method, std::move(path), right, std::move(summary),
              [function = std::move(function), status = options.status](Request&& request, const Done& done) {
                auto in = json::decode<In>(request.body.empty() ? "{}" : std::string_view(request.body));
                if (!in) return done(Response::error(in.error()));
                done(answer<Out>(status, function(std::as_const(request), *std::move(in))));
              });
  set_body<In>(route, options);
  set_answer<Out>(route, options);
  return route;
}

template <class Out, class F>
[[nodiscard]] Route without_body(Method method, std::string path, Right right, std::string summary, F function,
                                 const Options& options) {
  Route route(method, std::move(path), right, std::move(summary),
              [function = std::move(function), status = options.status](Request&& request, const Done& done) {
                done(answer<Out>(status, function(std::as_const(request))));
              });
  set_answer<Out>(route, options);
  return route;
}

}  // namespace detail

// GET: `function(const Request&) -> Result<Out>`.
template <class Out, class F>
[[nodiscard]] Route get(std::string path, Right right, std::string summary, F function, Options options = {}) {
  return detail::without_body<Out>(Method::get, std::move(path), right, std::move(summary), std::move(function),
                                   options);
}

// GET with a query: `function(const Request&, In) -> Result<Out>`.
template <class In, class Out, class F>
[[nodiscard]] Route get_query(std::string path, Right right, std::string summary, F function, Options options = {}) {
  Route route(Method::get, std::move(path), right, std::move(summary),
              [function = std::move(function), status = options.status](Request&& request, const Done& done) {
                auto in = decode_query<In>(request.query);
                if (!in) return done(Response::error(in.error()));
                done(detail::answer<Out>(status, function(std::as_const(request), *std::move(in))));
              });
  route.query_schema = [](json::Schemas& schemas) { return json::schema_of<In>(schemas); };
  detail::set_answer<Out>(route, options);
  return route;
}

// POST, PUT, PATCH with a JSON body (an absent one is {}): `function(const Request&, In) -> Result<Out>`. Out may be
// void or Response.
template <class In, class Out, class F>
[[nodiscard]] Route post(std::string path, Right right, std::string summary, F function, Options options = {}) {
  return detail::with_body<In, Out>(Method::post, std::move(path), right, std::move(summary), std::move(function),
                                    options);
}
template <class In, class Out, class F>
[[nodiscard]] Route put(std::string path, Right right, std::string summary, F function, Options options = {}) {
  return detail::with_body<In, Out>(Method::put, std::move(path), right, std::move(summary), std::move(function),
                                    options);
}
template <class In, class Out, class F>
[[nodiscard]] Route patch(std::string path, Right right, std::string summary, F function, Options options = {}) {
  return detail::with_body<In, Out>(Method::patch, std::move(path), right, std::move(summary), std::move(function),
                                    options);
}

// DELETE: `function(const Request&) -> Result<Out>`.
template <class Out, class F>
[[nodiscard]] Route del(std::string path, Right right, std::string summary, F function, Options options = {}) {
  return detail::without_body<Out>(Method::del, std::move(path), right, std::move(summary), std::move(function),
                                   options);
}

// POST or PUT whose body, of any type, is streamed to `request.body_file`: `function(const Request&) -> Result<Out>`.
template <class Out, class F>
[[nodiscard]] Route upload(Method method, std::string path, Right right, std::string summary, F function,
                           Options options = {}) {
  Route route =
      detail::without_body<Out>(method, std::move(path), right, std::move(summary), std::move(function), options);
  route.body = Body::file;
  route.body_bytes_max = options.body_bytes_max == 0 ? kUploadBytesMax : options.body_bytes_max;
  return route;
}

// Full control: the handler gets the request and answers through `done`, now or later. For other protocols and the data
// plane.
[[nodiscard]] Route raw(Method method, std::string path, Right right, std::string summary, Body body,
                        std::function<void(Request&&, Done)> handle, Options options = {});

// A list as it is answered: {"runs": [...]}. `name` is the field; use as Out of a route through `list_of`.
template <class T>
[[nodiscard]] json::Value list_of(std::string_view name, const std::vector<T>& items) {
  return json::Object{{name, json::to_json(items)}};
}

// --- implementation ---------------------------------------------------------------------------------------------

namespace detail {

template <class T>
constexpr std::string_view query_type() {
  if constexpr (json::detail::IsOptional<T>::value || json::detail::IsVector<T>::value) {
    return query_type<typename T::value_type>();
  } else if constexpr (std::is_same_v<T, bool>) {
    return "boolean";
  } else if constexpr (std::is_integral_v<T>) {
    return "integer";
  } else if constexpr (std::is_floating_point_v<T>) {
    return "number";
  } else {
    return "string";
  }
}

}  // namespace detail

template <class In>
Result<In> decode_query(const Query& query) {
  json::Object object;
  std::optional<Error> error;
  boost::mp11::mp_for_each<json::detail::Members<In>>([&](auto d) {
    using Field = std::remove_cvref_t<decltype(std::declval<In>().*d.pointer)>;
    json::Array values;
    for (const auto& text : query.all(d.name)) {
      auto value = detail::query_value(text, d.name, detail::query_type<Field>());
      if (!value) {
        error = std::move(value).error();
        return;
      }
      values.push_back(*std::move(value));
    }
    if (values.empty()) return;
    if constexpr (json::detail::IsVector<Field>::value) {
      object[d.name] = std::move(values);
    } else if (values.size() == 1) {
      object[d.name] = std::move(values.front());
    } else {
      error = Error{Code::kInvalidArgument,
                    "http.repeated_query",
                    std::string("The query names '") + d.name + "' twice.",
                    "Keep one.",
                    {}};
    }
  });
  if (error) return std::unexpected(*std::move(error));
  // Names that no field has are handed on, so that the codec refuses them in its own words.
  for (const auto& [name, value] : query.pairs()) {
    if (!object.contains(name)) object[name] = value;
  }
  return json::from_json<In>(object);
}

}  // namespace tidemill::http
