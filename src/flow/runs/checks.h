// What keys, values and names may be; private to this room.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/runs/types.h"

namespace tidemill::runs {

// Returns how many characters (code points) a UTF-8 text has.
[[nodiscard]] std::int64_t characters(std::string_view text);

// `where` names the field in messages, such as "metrics[3].key". Keys are 1 to key_chars_max of letters, digits, _ - .
// : / and spaces, and, read as a path, lead to themselves: clients keep them as file names.
[[nodiscard]] Result<void> check_key(std::string_view where, std::string_view key, const Limits& limits);
[[nodiscard]] Result<void> check_length(std::string_view where, std::string_view text, std::int64_t characters_max);
[[nodiscard]] Result<void> check_experiment_name(std::string_view name, const Limits& limits);

[[nodiscard]] std::unexpected<Error> invalid(std::string message, std::string remedy);
[[nodiscard]] std::unexpected<Error> unknown_run(const RunId& id);
[[nodiscard]] std::unexpected<Error> unknown_experiment(std::string_view id);

}  // namespace tidemill::runs
