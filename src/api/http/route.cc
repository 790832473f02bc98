#include "api/http/route.h"

#include <fmt/format.h>

#include <charconv>

namespace tidemill::http {

Route raw(Method method, std::string path, Right right, std::string summary, Body body,
          std::function<void(Request&&, Done)> handle, Options options) {
  Route route(method, std::move(path), right, std::move(summary), std::move(handle));
  route.body = body;
  route.body_bytes_max = options.body_bytes_max;
  if (route.body_bytes_max == 0) route.body_bytes_max = body == Body::file ? kUploadBytesMax : kJsonBytesMax;
  route.run = options.run;
  route.status = options.status;
  route.content_type = options.content_type;
  return route;
}

namespace detail {

Result<json::Value> query_value(std::string_view text, std::string_view name, std::string_view schema_type) {
  const auto refuse = [&](std::string_view expected) {
    return fail(Code::kInvalidArgument, "http.bad_query",
                fmt::format("'{}' in the query must be {}, not '{}'.", name, expected, text.substr(0, 64)),
                "Correct that value.", {{"field", std::string(name)}, {"expected", std::string(expected)}});
  };
  if (schema_type == "boolean") {
    if (text == "true") return json::Value(true);
    if (text == "false") return json::Value(false);
    return refuse("true or false");
  }
  if (schema_type == "integer") {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return refuse("a whole number");
    return json::Value(number);
  }
  if (schema_type == "number") {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(number))
      return refuse("a finite number");
    return json::Value(number);
  }
  return json::Value(boost::json::string(text));
}

}  // namespace detail
}  // namespace tidemill::http
