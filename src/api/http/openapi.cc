#include "api/http/openapi.h"

#include <fmt/format.h>

#include <algorithm>

namespace tidemill::http {
namespace {

// "/api/runs/{id}" belongs to the noun "runs", "/v2/…" to "predictions", and so on.
std::string tag_of(std::string_view path) {
  if (path.starts_with("/v2")) return "predictions";
  if (path.starts_with("/api/2.0") || path.starts_with("/ajax-api") || path.starts_with("/api/3.0")) return "mlflow";
  if (!path.starts_with("/api/")) return "system";
  path.remove_prefix(5);
  return std::string(path.substr(0, path.find_first_of("/.")));
}

std::string operation_id(const Route& route) {
  std::string id(enum_name(route.method));
  bool boundary = true;
  for (const char c : route.path) {
    const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (word && boundary) id.push_back('_');
    if (word) id.push_back(c);
    boundary = !word;
  }
  return id;
}

// "{path...}" is our own spelling; the document knows "{path}" only.
std::string document_path(std::string path) {
  const std::size_t dots = path.find("...}");
  return dots == std::string::npos ? path : path.erase(dots, 3);
}

json::Array parameters_of(const Route& route, json::Schemas& schemas) {
  json::Array parameters;
  const std::string path = document_path(route.path);
  for (std::size_t open = path.find('{'); open != std::string::npos; open = path.find('{', open + 1)) {
    const std::string name = path.substr(open + 1, path.find('}', open) - open - 1);
    parameters.push_back(
        json::Object{{"name", name}, {"in", "path"}, {"required", true}, {"schema", json::Object{{"type", "string"}}}});
  }
  if (!route.query_schema) return parameters;
  json::Schemas own;
  const std::string reference(route.query_schema(own).at("$ref").as_string());
  const std::string name = reference.substr(reference.rfind('/') + 1);
  const json::Object schema = own.at(name).as_object();
  own.erase(name);
  schemas.merge(own);
  const auto* required = schema.if_contains("required");
  for (const auto& property : schema.at("properties").as_object()) {
    const bool needed = required != nullptr && std::ranges::any_of(required->as_array(), [&](const json::Value& v) {
                          return v == property.key();
                        });
    parameters.push_back(
        json::Object{{"name", property.key()}, {"in", "query"}, {"required", needed}, {"schema", property.value()}});
  }
  return parameters;
}

json::Object operation(const Route& route, json::Schemas& schemas) {
  json::Object answer{{"description", route.summary}};
  if (route.answer_schema) {
    answer["content"] = json::Object{{route.content_type, json::Object{{"schema", route.answer_schema(schemas)}}}};
  }
  const json::Object error{
      {"description", "What went wrong, and the remedy"},
      {"content", json::Object{{"application/json",
                                json::Object{{"schema", json::Object{{"$ref", "#/components/schemas/Error"}}}}}}}};
  json::Object out{{"operationId", operation_id(route)},
                   {"summary", route.summary},
                   {"tags", json::Array{json::Value(tag_of(route.path))}},
                   {"x-right", enum_name(route.right)},
                   {"parameters", parameters_of(route, schemas)},
                   {"responses", json::Object{{std::to_string(route.status), answer}, {"default", error}}}};
  if (route.body == Body::json && route.body_schema) {
    out["requestBody"] = json::Object{
        {"required", true},
        {"content", json::Object{{"application/json", json::Object{{"schema", route.body_schema(schemas)}}}}}};
  } else if (route.body != Body::none) {
    const char* type = route.body == Body::json ? "application/json" : "application/octet-stream";
    out["requestBody"] =
        json::Object{{"required", true}, {"content", json::Object{{type, json::Object{{"schema", json::Object{}}}}}}};
  }
  if (route.right == Right::open) out["security"] = json::Array{};
  return out;
}

json::Value error_schema() {
  json::Object properties;
  for (const char* name : {"code", "reason", "message", "remedy"}) properties[name] = json::Object{{"type", "string"}};
  properties["details"] = json::Object{{"type", "object"}, {"additionalProperties", json::Object{{"type", "string"}}}};
  return json::Object{
      {"type", "object"},
      {"properties", json::Object{{"error", json::Object{{"type", "object"}, {"properties", properties}}}}}};
}

}  // namespace

json::Value openapi(const Router& router, std::string_view version) {
  json::Schemas schemas{{"Error", error_schema()}};
  json::Object paths;
  for (const auto& route : router.routes()) {
    json::Value& entry = paths[document_path(route->path)];
    if (!entry.is_object()) entry = json::Object{};
    const std::string method = route->method == Method::del ? "delete" : std::string(enum_name(route->method));
    entry.get_object()[method] = operation(*route, schemas);
  }
  json::Object components;
  for (auto& [name, schema] : schemas) components[name] = schema;
  const json::Object schemes{{"token", json::Object{{"type", "http"}, {"scheme", "bearer"}}},
                             {"password", json::Object{{"type", "http"}, {"scheme", "basic"}}}};
  return json::Object{
      {"openapi", "3.1.0"},
      {"info", json::Object{{"title", "Tidemill"}, {"version", version}}},
      {"security", json::Array{json::Object{{"token", json::Array{}}}, json::Object{{"password", json::Array{}}}}},
      {"paths", paths},
      {"components", json::Object{{"schemas", components}, {"securitySchemes", schemes}}}};
}

}  // namespace tidemill::http
