// ${…} in definitions: values put into values, never into program text and never through a shell.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace tidemill {

// Returns the value that stands for a path such as "params.start" (what is between the braces), or an error that is
// passed on.
using Lookup = std::function<Result<json::Value>(std::string_view path)>;

// Returns `value` with each ${path} in its strings, at any depth, replaced. A string that is nothing but one ${path}
// becomes the value itself, with its type; within other text a value must be a string, number or boolean. Keys are left
// alone, and so are replaced values: nothing is expanded twice. `$${` stands for a plain `${`. kInvalidArgument, reason
// "expand.malformed", for an unclosed or empty ${.
[[nodiscard]] Result<json::Value> expand(const json::Value& value, const Lookup& lookup);

// Returns the paths that `value` refers to, in order, with repetitions; the same errors as expand for what is
// malformed.
[[nodiscard]] Result<std::vector<std::string>> references(const json::Value& value);

// Returns what `path` ("a.b.0") leads to inside `value`: by key in an object, by index in an array; "" is the value
// itself. kNotFound, reason "expand.unknown", names the part that is missing and, for an object, what there is.
[[nodiscard]] Result<json::Value> value_at(const json::Value& value, std::string_view path);

// Returns a string as it is, a number or boolean as JSON writes it; kInvalidArgument for anything else.
[[nodiscard]] Result<std::string> scalar_text(const json::Value& value);

}  // namespace tidemill
