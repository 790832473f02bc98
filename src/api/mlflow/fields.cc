#include "api/mlflow/fields.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

namespace tidemill::mlflow {
namespace {

constexpr std::size_t kShownBytesMax = 64;

std::string camel_case(std::string_view name) {
  std::string out;
  bool raise = false;
  for (const char c : name) {
    if (c == '_') {
      raise = true;
      continue;
    }
    out += raise && c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    raise = false;
  }
  return out;
}

json::Object object_of(const http::Query& query) {
  json::Object object;
  for (const auto& [name, value] : query.pairs()) {
    json::Value& field = object[name];
    if (field.is_null()) {
      field = value;
    } else if (json::Array* array = field.if_array()) {
      array->emplace_back(value);
    } else {
      field = json::Array{field, value};
    }
  }
  return object;
}

bool is_json(std::string_view content_type) {
  return content_type.starts_with("application/json") &&
         (content_type.size() == 16 || content_type[16] == ';' || content_type[16] == ' ');
}

std::optional<std::int64_t> whole(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::optional<std::int64_t> whole(double number) {
  constexpr double kBeyond = 9223372036854775808.0;  // 2^63
  if (!(number >= -kBeyond && number < kBeyond) || std::trunc(number) != number) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::optional<double> real(std::string_view text) {
  if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
  if (text == "Infinity") return std::numeric_limits<double>::infinity();
  if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || !std::isfinite(number)) return std::nullopt;
  return number;
}

}  // namespace

std::unexpected<Error> invalid_value(std::string_view name, const json::Value& value, std::string_view expected) {
  std::string shown = json::serialize(value);
  if (shown.size() > kShownBytesMax) {
    std::size_t cut = kShownBytesMax;
    while (cut > 0 && (static_cast<unsigned char>(shown[cut]) & 0xC0) == 0x80) --cut;
    shown = shown.substr(0, cut) + "…";
  }
  return fail(Code::kInvalidArgument, "mlflow.invalid_value",
              fmt::format("Invalid value {} for parameter '{}' supplied: expected {}.", shown, name, expected),
              "Correct it.", {{"field", std::string(name)}});
}

std::unexpected<Error> missing_value(std::string_view name) {
  return fail(Code::kInvalidArgument, "mlflow.missing_value",
              fmt::format("Missing value for required parameter '{}'.", name), "Send it.",
              {{"field", std::string(name)}});
}

Result<Fields> Fields::of(const http::Request& request) {
  if (request.body.empty()) return Fields(object_of(request.query));
  const auto content_type = request.headers.get("Content-Type");
  if (!is_json(content_type.value_or(""))) {
    return fail(Code::kInvalidArgument, "mlflow.not_json",
                fmt::format("Bad Request. Content-Type must be application/json, not '{}'.",
                            content_type.value_or("").substr(0, kShownBytesMax)),
                "Send JSON, and say so.");
  }
  json::Value body = TM_TRY(json::parse(request.body));
  if (json::Object* object = body.if_object()) return Fields(std::move(*object));
  return invalid_value("body", body, "an object");
}

const json::Value* Fields::find(std::string_view name) const {
  const json::Value* value = object_.if_contains(name);
  if (value == nullptr && name.find('_') != std::string_view::npos) value = object_.if_contains(camel_case(name));
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::optional<std::string>> Fields::maybe_text(std::string_view name) const {
  const json::Value* value = find(name);
  if (value == nullptr) return std::optional<std::string>();
  if (const auto* text = value->if_string()) return std::optional(std::string(*text));
  return invalid_value(name, *value, "a string");
}

Result<std::optional<std::int64_t>> Fields::maybe_integer(std::string_view name) const {
  const json::Value* value = find(name);
  if (value == nullptr) return std::optional<std::int64_t>();
  std::optional<std::int64_t> number;
  if (const auto* integer = value->if_int64()) number = *integer;
  if (const auto* fraction = value->if_double()) number = whole(*fraction);
  if (const auto* text = value->if_string()) number = whole(std::string_view(*text));
  if (number) return number;
  return invalid_value(name, *value, "a 64-bit integer");
}

Result<std::optional<bool>> Fields::maybe_boolean(std::string_view name) const {
  const json::Value* value = find(name);
  if (value == nullptr) return std::optional<bool>();
  if (const bool* flag = value->if_bool()) return std::optional(*flag);
  if (const auto* text = value->if_string()) {
    if (*text == "true" || *text == "True") return std::optional(true);
    if (*text == "false" || *text == "False") return std::optional(false);
  }
  return invalid_value(name, *value, "'true' or 'false'");
}

Result<std::string> Fields::text(std::string_view name) const { return TM_TRY(maybe_text(name)).value_or(""); }

Result<std::string> Fields::required(std::string_view name) const {
  auto value = TM_TRY(maybe_text(name));
  if (!value || value->empty()) return missing_value(name);
  return *std::move(value);
}

Result<std::string> Fields::required(std::string_view name, std::string_view older_name) const {
  auto value = TM_TRY(maybe_text(name));
  return value && !value->empty() ? *std::move(value) : has(older_name) ? required(older_name) : required(name);
}

Result<std::int64_t> Fields::required_integer(std::string_view name) const {
  const auto value = TM_TRY(maybe_integer(name));
  if (!value) return missing_value(name);
  return *value;
}

Result<double> Fields::required_number(std::string_view name) const {
  const json::Value* value = find(name);
  if (value == nullptr) return missing_value(name);
  std::optional<double> number;
  if (const auto* fraction = value->if_double()) number = *fraction;
  if (const auto* integer = value->if_int64()) number = static_cast<double>(*integer);
  if (const auto* natural = value->if_uint64()) number = static_cast<double>(*natural);
  if (const auto* text = value->if_string()) number = real(std::string_view(*text));
  if (number) return *number;
  return invalid_value(name, *value, "a 64-bit floating point number");
}

Result<std::vector<std::string>> Fields::texts(std::string_view name) const {
  std::vector<std::string> out;
  const json::Value* value = find(name);
  if (value == nullptr) return out;
  if (const auto* one = value->if_string()) return std::vector{std::string(*one)};
  const json::Array* array = value->if_array();
  if (array == nullptr) return invalid_value(name, *value, "a list of strings");
  for (const json::Value& item : *array) {
    const auto* text = item.if_string();
    if (text == nullptr) return invalid_value(name, item, "a string");
    out.emplace_back(*text);
  }
  return out;
}

Result<std::vector<Fields>> Fields::objects(std::string_view name) const {
  std::vector<Fields> out;
  const json::Value* value = find(name);
  if (value == nullptr) return out;
  const json::Array* array = value->if_array();
  if (array == nullptr) return invalid_value(name, *value, "a list of objects");
  out.reserve(array->size());
  for (const json::Value& item : *array) {
    const json::Object* object = item.if_object();
    if (object == nullptr) return invalid_value(name, item, "an object");
    out.emplace_back(*object);
  }
  return out;
}

Result<Fields> Fields::object(std::string_view name) const {
  const json::Value* value = find(name);
  if (value == nullptr) return Fields();
  if (const json::Object* object = value->if_object()) return Fields(*object);
  return invalid_value(name, *value, "an object");
}

Result<std::vector<std::pair<std::string, std::string>>> Fields::text_pairs(std::string_view name) const {
  std::vector<std::pair<std::string, std::string>> out;
  const json::Value* value = find(name);
  if (value == nullptr) return out;
  const json::Object* object = value->if_object();
  if (object == nullptr) return invalid_value(name, *value, "an object");
  for (const auto& entry : *object) {
    const auto* text = entry.value().if_string();
    if (text == nullptr) return invalid_value(entry.key(), entry.value(), "a string");
    out.emplace_back(entry.key(), *text);
  }
  return out;
}

}  // namespace tidemill::mlflow
