// The safe part of YAML, as JSON: what people write pipelines, requirements and other definitions in.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace tidemill {

// Returns the value of one YAML (or JSON) document. Plain scalars become null, booleans and numbers as YAML 1.2's core
// schema says, so `no` and `on` stay text; quoted ones are text. kInvalidArgument naming `file` and the line for: bad
// syntax, an anchor or alias (a few lines could mean gigabytes), a tag, a key that is not plain text or stands twice,
// more than 64 levels, a second document; kTooLarge past 4 MiB.
[[nodiscard]] Result<json::Value> parse_yaml(std::string_view text, std::string_view file);

// The same, but plain scalars stay text as they are written, except null: for files of programs that read YAML by
// other rules, where 1e5 or 012 is text.
[[nodiscard]] Result<json::Value> parse_yaml_as_text(std::string_view text, std::string_view file);

}  // namespace tidemill
