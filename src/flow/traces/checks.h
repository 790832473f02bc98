// What several files of this room ask and refuse. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "flow/traces/types.h"

namespace tidemill::traces {

[[nodiscard]] std::unexpected<Error> invalid(std::string message, std::string remedy);
[[nodiscard]] std::unexpected<Error> unknown_trace(const TraceId& id);
// kInvalidArgument for an empty key and for one that is too long.
[[nodiscard]] Result<void> check_key(std::string_view key, const Limits& limits);
// Returns the text cut to so many characters (not bytes), ending in "..." when it was.
[[nodiscard]] std::string cut(std::string_view text, std::int64_t chars_max);

}  // namespace tidemill::traces
