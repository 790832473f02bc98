// What a span holds beside its columns, as the text that is stored and searched. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "flow/traces/types.h"

namespace tidemill::traces {

// Returns attributes, events, links and the status message as JSON text.
[[nodiscard]] std::string content_of(const Span& span);
// Reads it back into `span`.
[[nodiscard]] Result<void> read_content(std::string_view content, Span& span);
// kInvalidArgument when values nest too deeply for their text to be read back.
[[nodiscard]] Result<void> check_nesting(const json::Object& attributes, std::int64_t nesting_max);

}  // namespace tidemill::traces
