// What an MLflow client sent, read as leniently as MLflow reads it: fields nobody knows are ignored, names may be
// snake_case or camelCase, 64-bit integers may be texts, and GET requests carry everything in the query. A wrong type
// is kInvalidArgument "Invalid value …".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/http/message.h"
#include "base/json.h"
#include "base/result.h"

namespace tidemill::mlflow {

class Fields {
 public:
  Fields() = default;
  explicit Fields(json::Object object) : object_(std::move(object)) {}
  // The JSON body, or the query where there is none. kInvalidArgument for a body that is no JSON object, or is not
  // declared as JSON.
  [[nodiscard]] static Result<Fields> of(const http::Request& request);

  [[nodiscard]] bool has(std::string_view name) const { return find(name) != nullptr; }

  // Nothing when absent or null.
  [[nodiscard]] Result<std::optional<std::string>> maybe_text(std::string_view name) const;
  [[nodiscard]] Result<std::optional<std::int64_t>> maybe_integer(std::string_view name) const;
  [[nodiscard]] Result<std::optional<bool>> maybe_boolean(std::string_view name) const;

  // "" when absent.
  [[nodiscard]] Result<std::string> text(std::string_view name) const;
  // kInvalidArgument "Missing value for required parameter …" when absent or empty.
  [[nodiscard]] Result<std::string> required(std::string_view name) const;
  // The same under an older name too.
  [[nodiscard]] Result<std::string> required(std::string_view name, std::string_view older_name) const;
  [[nodiscard]] Result<std::int64_t> required_integer(std::string_view name) const;
  // A double, or one of the words NaN, Infinity, -Infinity.
  [[nodiscard]] Result<double> required_number(std::string_view name) const;

  // Empty when absent. In a query a name may come several times.
  [[nodiscard]] Result<std::vector<std::string>> texts(std::string_view name) const;
  [[nodiscard]] Result<std::vector<Fields>> objects(std::string_view name) const;
  // The object of this name; an empty one when absent.
  [[nodiscard]] Result<Fields> object(std::string_view name) const;

  // An object of texts, such as {"team": "risk"}; empty when absent.
  [[nodiscard]] Result<std::vector<std::pair<std::string, std::string>>> text_pairs(std::string_view name) const;
  // The value of this name; null when absent or null. It lives as long as this does.
  [[nodiscard]] const json::Value* find(std::string_view name) const;

 private:
  json::Object object_;
};

[[nodiscard]] std::unexpected<Error> invalid_value(std::string_view name, const json::Value& value,
                                                   std::string_view expected);
[[nodiscard]] std::unexpected<Error> missing_value(std::string_view name);

}  // namespace tidemill::mlflow
