#include "base/expand.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace tidemill {
namespace {

constexpr std::size_t kShownMax = 100;

std::unexpected<Error> malformed(std::string_view text, std::string_view why) {
  return fail(Code::kInvalidArgument, "expand.malformed",
              "The text '" + std::string(text.substr(0, kShownMax)) + "' " + std::string(why) + ".",
              "Write ${params.name}, or $${ for a plain ${.");
}

// A piece of a string: plain text, or a path to be looked up.
struct Piece {
  bool is_path = false;
  std::string text;
};

Result<std::vector<Piece>> split(std::string_view text) {
  std::vector<Piece> pieces;
  std::string plain;
  std::string_view rest = text;
  while (!rest.empty()) {
    if (rest.starts_with("$${")) {
      plain += "${";
      rest.remove_prefix(3);
    } else if (rest.starts_with("${")) {
      const std::size_t end = rest.find('}');
      if (end == std::string_view::npos) return malformed(text, "has a ${ that is not closed");
      const std::string_view path = rest.substr(2, end - 2);
      if (path.empty() || path.find_first_of(" ${\t\n") != std::string_view::npos)
        return malformed(text, "has a ${} without a proper path");
      if (!plain.empty()) pieces.push_back({false, std::exchange(plain, {})});
      pieces.push_back({true, std::string(path)});
      rest.remove_prefix(end + 1);
    } else {
      plain += rest.front();
      rest.remove_prefix(1);
    }
  }
  if (!plain.empty() || pieces.empty()) pieces.push_back({false, std::move(plain)});
  return pieces;
}

Result<json::Value> expand_string(std::string_view text, const Lookup& lookup) {
  const std::vector<Piece> pieces = TM_TRY(split(text));
  if (pieces.size() == 1 && pieces.front().is_path) return lookup(pieces.front().text);
  std::string out;
  for (const Piece& piece : pieces) {
    if (!piece.is_path) {
      out += piece.text;
      continue;
    }
    auto scalar = scalar_text(TM_TRY(lookup(piece.text)));
    if (!scalar) {
      return fail(Code::kInvalidArgument, "expand.not_scalar",
                  "${" + piece.text + "} is no text or number, so it cannot stand inside other text.",
                  "Let it be the whole value.");
    }
    out += *scalar;
  }
  return json::Value(out);
}

Result<void> collect(const json::Value& value, std::vector<std::string>& paths) {
  if (const auto* text = value.if_string()) {
    for (Piece& piece : TM_TRY(split(*text))) {
      if (piece.is_path) paths.push_back(std::move(piece.text));
    }
  } else if (const auto* array = value.if_array()) {
    for (const json::Value& item : *array) TM_CHECK(collect(item, paths));
  } else if (const auto* object = value.if_object()) {
    for (const auto& entry : *object) TM_CHECK(collect(entry.value(), paths));
  }
  return {};
}

std::string known_keys(const json::Object& object) {
  std::string keys;
  for (const auto& entry : object) {
    keys += (keys.empty() ? "" : ", ") + std::string(entry.key());
    if (keys.size() > kShownMax) return keys + " …";
  }
  return keys.empty() ? "nothing" : keys;
}

}  // namespace

Result<json::Value> expand(const json::Value& value, const Lookup& lookup) {
  if (const auto* text = value.if_string()) return expand_string(*text, lookup);
  if (const auto* array = value.if_array()) {
    json::Array out;
    for (const json::Value& item : *array) out.push_back(TM_TRY(expand(item, lookup)));
    return out;
  }
  if (const auto* object = value.if_object()) {
    json::Object out;
    for (const auto& entry : *object) out[entry.key()] = TM_TRY(expand(entry.value(), lookup));
    return out;
  }
  return value;
}

Result<std::vector<std::string>> references(const json::Value& value) {
  std::vector<std::string> paths;
  TM_CHECK(collect(value, paths));
  return paths;
}

Result<json::Value> value_at(const json::Value& value, std::string_view path) {
  const json::Value* at = &value;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('.'), rest.size());
    const std::string_view part = rest.substr(0, end);
    const auto unknown = [&](std::string there) {
      return fail(Code::kNotFound, "expand.unknown",
                  "There is no '" + std::string(part) + "' at ${…" + std::string(path) + "}.", std::move(there));
    };
    if (const auto* object = at->if_object()) {
      const json::Value* next = object->if_contains(part);
      if (next == nullptr) return unknown("There is: " + known_keys(*object) + ".");
      at = next;
    } else if (const auto* array = at->if_array()) {
      std::size_t index = 0;
      const auto [stop, error] = std::from_chars(part.data(), part.data() + part.size(), index);
      if (error != std::errc{} || stop != part.data() + part.size() || index >= array->size()) {
        return unknown("There is a list of " + std::to_string(array->size()) + ".");
      }
      at = &(*array)[index];
    } else {
      return unknown("There is a plain value.");
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return *at;
}

Result<std::string> scalar_text(const json::Value& value) {
  if (const auto* text = value.if_string()) return std::string(*text);
  if (const auto* number = value.if_double())
    return fmt::format("{}", *number);  // shortest form that reads back equal, 0.5 and not 5E-1
  if (value.is_number() || value.is_bool()) return json::serialize(value);
  return fail(Code::kInvalidArgument, "expand.not_scalar",
              "The value " + json::serialize(value).substr(0, kShownMax) + " is no text or number.",
              "Give a text, a number, true or false.");
}

}  // namespace tidemill
