// The server's JSON as text for people. Control characters of names that somebody else chose become spaces, so that
// they cannot steer the reader's terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tidemill::cli {

// A column of a table: a heading and the dotted path of the field that fills it; "made_ms" and other "…_ms" fields
// print as times.
struct Column {
  std::string heading;
  std::string path;
};

// Returns the value at a dotted path, or null. A key that itself holds dots is not found.
[[nodiscard]] const json::Value* at_path(const json::Value& value, std::string_view path);

// Returns a value on one line, "-" for what is missing or empty. `key` is its name: a field "…_ms" that holds a moment
// is written as UTC. Numbers are in their shortest form, or six digits where that is longer than twelve characters.
[[nodiscard]] std::string value_text(const json::Value* value, std::string_view key);

// Returns a heading and a line for each object of `rows`; "" when there are none. Long cells are cut.
[[nodiscard]] std::string table_text(const json::Value* rows, const std::vector<Column>& columns);

// Returns an object as "field  value" lines. Objects inside are indented below their name; lists of objects, and
// objects of like objects, are tables; those that make no table of at most 120 columns are blocks of lines, and where
// there are too many for that, a table of what fits that names what --json has beyond it.
[[nodiscard]] std::string object_text(const json::Object& object);

}  // namespace tidemill::cli
