// JSON codec and schemas of plain structs, from one BOOST_DESCRIBE_STRUCT line each.
//
//   struct NewRun { std::string name; std::optional<int64_t> start_ms; std::vector<Tag> tags; };
//   BOOST_DESCRIBE_STRUCT(NewRun, (), (name, start_ms, tags))
//
//   Result<NewRun> run = json::decode<NewRun>(text);     std::string text = json::encode(run);
//
// Decoding is strict: an unknown field, a missing field, a wrong type, a number out of range or a duplicate key is
// kInvalidArgument whose message holds the path, such as "tags[2].key". `std::optional` fields may be absent or
// null. A struct that declares `using json_defaults = void;` lets every field be absent; it then keeps its initialiser.
// Field types: bool, integers, double, std::string, described enums (as their names), Id<Tag>, other described
// structs, boost::json::value/object/array (anything), and optional/vector/map<string, …> of these.
// JSON has no NaN and no infinity: encoding one writes null, decoding never yields one.
#pragma once

#include <boost/describe.hpp>
#include <boost/json.hpp>
#include <boost/mp11.hpp>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/enums.h"
#include "base/ids.h"
#include "base/result.h"

namespace tidemill::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

struct Limits {
  std::size_t depth_max = 64;
  std::size_t bytes_max = 64u << 20;
};

// Returns the parsed text; kInvalidArgument for malformed JSON, bad UTF-8, duplicate keys or too much depth, kTooLarge
// past bytes_max.
[[nodiscard]] Result<Value> parse(std::string_view text, const Limits& limits = {});

// Returns compact JSON text.
[[nodiscard]] std::string serialize(const Value& value);

// Returns JSON text with sorted keys and no spaces, equal for equal values: what is hashed. Doubles are written in the
// shortest form that reads back equal.
[[nodiscard]] std::string canonical(const Value& value);

// Collects the named schemas that `schema_of` meets, for `components.schemas` of OpenAPI 3.1.
using Schemas = std::map<std::string, Value>;

namespace detail {

template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsId : std::false_type {};
template <class Tag>
struct IsId<Id<Tag>> : std::true_type {};

template <class T>
concept Described = boost::describe::has_describe_members<T>::value;
template <class T>
concept DescribedEnum = boost::describe::has_describe_enumerators<T>::value;
template <class T>
concept HasDefaults = requires {
  typename T::json_defaults;
};
template <class T>
concept RawJson = std::is_same_v<T, Value> || std::is_same_v<T, Object> || std::is_same_v<T, Array>;

template <class T>
using Members = boost::describe::describe_members<T, boost::describe::mod_public | boost::describe::mod_inherited>;

[[nodiscard]] std::unexpected<Error> wrong(std::string_view path, std::string_view expected, const Value& got);
[[nodiscard]] std::unexpected<Error> missing(std::string_view path, std::string_view field);
[[nodiscard]] std::unexpected<Error> unknown(std::string_view path, std::string_view field, std::string_view known);
[[nodiscard]] Result<std::int64_t> to_int64(const Value& value, std::string_view path, std::int64_t low,
                                            std::int64_t high);
[[nodiscard]] Result<std::uint64_t> to_uint64(const Value& value, std::string_view path);
[[nodiscard]] Result<double> to_double(const Value& value, std::string_view path);
[[nodiscard]] std::string joined(std::string_view path, std::string_view field);
[[nodiscard]] std::string indexed(std::string_view path, std::size_t index);

// Returns the last part of the type's name as written in the source, such as "NewRun", prefixed by its room:
// "runs.NewRun".
[[nodiscard]] std::string schema_name(std::string_view pretty_function);

}  // namespace detail

template <class T>
[[nodiscard]] Value to_json(const T& value);

template <class T>
[[nodiscard]] Result<T> from_json(const Value& value, std::string_view path = "");

template <class T>
[[nodiscard]] Value schema_of(Schemas& schemas);

// Returns the struct of a JSON text.
template <class T>
[[nodiscard]] Result<T> decode(std::string_view text, const Limits& limits = {}) {
  return from_json<T>(TM_TRY(parse(text, limits)));
}

template <class T>
[[nodiscard]] std::string encode(const T& value) {
  return json::serialize(to_json(value));
}

// --- implementation ---------------------------------------------------------------------------------------------

template <class T>
Value to_json(const T& value) {
  using namespace detail;
  if constexpr (RawJson<T>) {
    return value;
  } else if constexpr (std::is_same_v<T, bool>) {
    return Value(value);
  } else if constexpr (DescribedEnum<T>) {
    return Value(enum_name(value));
  } else if constexpr (std::is_unsigned_v<T>) {
    return Value(static_cast<std::uint64_t>(value));
  } else if constexpr (std::is_integral_v<T>) {
    return Value(static_cast<std::int64_t>(value));
  } else if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(value) ? Value(static_cast<double>(value)) : Value(nullptr);
  } else if constexpr (std::is_convertible_v<T, std::string_view>) {
    return Value(boost::json::string(std::string_view(value)));
  } else if constexpr (IsId<T>::value) {
    return Value(boost::json::string(value.str()));
  } else if constexpr (IsOptional<T>::value) {
    return value ? to_json(*value) : Value(nullptr);
  } else if constexpr (IsVector<T>::value) {
    Array array;
    array.reserve(value.size());
    for (const auto& item : value) array.push_back(to_json<typename T::value_type>(item));
    return array;
  } else if constexpr (IsMap<T>::value) {
    Object object;
    for (const auto& [key, item] : value) object[key] = to_json(item);
    return object;
  } else {
    static_assert(Described<T>, "give the struct a BOOST_DESCRIBE_STRUCT line");
    Object object;
    boost::mp11::mp_for_each<Members<T>>([&](auto d) {
      const auto& member = value.*d.pointer;
      if constexpr (IsOptional<std::remove_cvref_t<decltype(member)>>::value) {
        if (!member) return;  // absent rather than null: smaller, and what clients in typed languages like
      }
      object[d.name] = to_json(member);
    });
    return object;
  }
}

namespace detail {

template <class T>
Result<T> struct_from_json(const Value& value, std::string_view path) {
  const Object* object = value.if_object();
  if (object == nullptr) return wrong(path, "an object", value);
  T out{};
  std::optional<Error> error;
  std::size_t found = 0;
  boost::mp11::mp_for_each<Members<T>>([&](auto d) {
    if (error) return;
    using Field = std::remove_cvref_t<decltype(out.*d.pointer)>;
    const Value* field = object->if_contains(d.name);
    if (field == nullptr) {
      if constexpr (!IsOptional<Field>::value && !HasDefaults<T>) error = missing(path, d.name).error();
      return;
    }
    ++found;
    auto decoded = from_json<Field>(*field, joined(path, d.name));
    if (decoded) {
      out.*d.pointer = *std::move(decoded);
    } else {
      error = std::move(decoded).error();
    }
  });
  if (error) return std::unexpected(*std::move(error));
  if (found != object->size()) {
    std::string known;
    boost::mp11::mp_for_each<Members<T>>([&](auto d) { known += (known.empty() ? "" : ", ") + std::string(d.name); });
    for (const auto& entry : *object) {
      bool is_known = false;
      boost::mp11::mp_for_each<Members<T>>([&](auto d) { is_known = is_known || entry.key() == d.name; });
      if (!is_known) return unknown(path, entry.key(), known);
    }
  }
  return out;
}

}  // namespace detail

template <class T>
Result<T> from_json(const Value& value, std::string_view path) {
  using namespace detail;
  if constexpr (std::is_same_v<T, Value>) {
    return value;
  } else if constexpr (std::is_same_v<T, Object>) {
    if (const auto* object = value.if_object()) return *object;
    return wrong(path, "an object", value);
  } else if constexpr (std::is_same_v<T, Array>) {
    if (const auto* array = value.if_array()) return *array;
    return wrong(path, "an array", value);
  } else if constexpr (std::is_same_v<T, bool>) {
    if (const bool* flag = value.if_bool()) return *flag;
    return wrong(path, "true or false", value);
  } else if constexpr (DescribedEnum<T>) {
    std::string names;
    for (const auto& name : enum_names<T>()) names += (names.empty() ? "one of " : ", ") + name;
    if (const auto* text = value.if_string()) {
      if (auto parsed = parse_enum<T>(std::string_view(*text))) return *parsed;
    }
    return wrong(path, names, value);
  } else if constexpr (std::is_unsigned_v<T>) {
    const std::uint64_t number = TM_TRY(to_uint64(value, path));
    if (number > std::numeric_limits<T>::max()) return wrong(path, "a smaller whole number", value);
    return static_cast<T>(number);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(TM_TRY(to_int64(value, path, std::numeric_limits<T>::min(), std::numeric_limits<T>::max())));
  } else if constexpr (std::is_floating_point_v<T>) {
    return static_cast<T>(TM_TRY(to_double(value, path)));
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (const auto* text = value.if_string()) return std::string(*text);
    return wrong(path, "a string", value);
  } else if constexpr (IsId<T>::value) {
    const auto* text = value.if_string();
    if (text == nullptr) return wrong(path, "an id", value);
    return T::parse(std::string_view(*text));
  } else if constexpr (IsOptional<T>::value) {
    if (value.is_null()) return T{};
    return T(TM_TRY(from_json<typename T::value_type>(value, path)));
  } else if constexpr (IsVector<T>::value) {
    const Array* array = value.if_array();
    if (array == nullptr) return wrong(path, "an array", value);
    T out;
    out.reserve(array->size());
    for (std::size_t i = 0; i < array->size(); ++i) {
      out.push_back(TM_TRY(from_json<typename T::value_type>((*array)[i], indexed(path, i))));
    }
    return out;
  } else if constexpr (IsMap<T>::value) {
    const Object* object = value.if_object();
    if (object == nullptr) return wrong(path, "an object", value);
    T out;
    for (const auto& entry : *object) {
      out.emplace(entry.key(), TM_TRY(from_json<typename T::mapped_type>(entry.value(), joined(path, entry.key()))));
    }
    return out;
  } else {
    static_assert(Described<T>, "give the struct a BOOST_DESCRIBE_STRUCT line");
    return struct_from_json<T>(value, path);
  }
}

template <class T>
Value schema_of(Schemas& schemas) {
  using namespace detail;
  if constexpr (std::is_same_v<T, Value>) {
    return Object{};
  } else if constexpr (std::is_same_v<T, Object>) {
    return Object{{"type", "object"}};
  } else if constexpr (std::is_same_v<T, Array>) {
    return Object{{"type", "array"}, {"items", Object{}}};
  } else if constexpr (std::is_same_v<T, bool>) {
    return Object{{"type", "boolean"}};
  } else if constexpr (DescribedEnum<T>) {
    Array names;
    for (const auto& name : enum_names<T>()) names.emplace_back(name);
    return Object{{"type", "string"}, {"enum", names}};
  } else if constexpr (std::is_integral_v<T>) {
    Object schema{{"type", "integer"}, {"format", sizeof(T) == 8 ? "int64" : "int32"}};
    if constexpr (std::is_unsigned_v<T>) schema["minimum"] = 0;
    return schema;
  } else if constexpr (std::is_floating_point_v<T>) {
    return Object{{"type", "number"}};
  } else if constexpr (std::is_same_v<T, std::string>) {
    return Object{{"type", "string"}};
  } else if constexpr (IsId<T>::value) {
    return Object{{"type", "string"}, {"pattern", "^[0-9a-f]{32}$"}};
  } else if constexpr (IsOptional<T>::value) {
    return schema_of<typename T::value_type>(schemas);
  } else if constexpr (IsVector<T>::value) {
    return Object{{"type", "array"}, {"items", schema_of<typename T::value_type>(schemas)}};
  } else if constexpr (IsMap<T>::value) {
    return Object{{"type", "object"}, {"additionalProperties", schema_of<typename T::mapped_type>(schemas)}};
  } else {
    const std::string name = schema_name(__PRETTY_FUNCTION__);
    if (!schemas.contains(name)) {
      schemas[name] = nullptr;  // stands for itself while its members are walked, so that recursion ends
      Object properties;
      Array required;
      boost::mp11::mp_for_each<Members<T>>([&](auto d) {
        using Field = std::remove_cvref_t<decltype(std::declval<T>().*d.pointer)>;
        properties[d.name] = schema_of<Field>(schemas);
        if (!IsOptional<Field>::value && !HasDefaults<T>) required.emplace_back(d.name);
      });
      Object schema{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}};
      if (!required.empty()) schema["required"] = required;
      schemas[name] = schema;
    }
    return Object{{"$ref", "#/components/schemas/" + name}};
  }
}

}  // namespace tidemill::json
