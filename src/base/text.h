// Text that came from elsewhere, made fit to be stored and shown.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace tidemill {

// Returns `bytes` as valid UTF-8 of at most `bytes_max` bytes: what is not UTF-8 (RFC 3629) becomes U+FFFD, control
// characters become spaces, and "…" ends a text that was cut, never within a character.
[[nodiscard]] std::string printable_utf8(std::string_view bytes, std::size_t bytes_max);

// Returns `words` with each absolute path of this machine cut down to its last part: "'/srv/data/uploads/a.csv' is too
// short" becomes "'a.csv' is too short". For messages that leave the server. URLs stay as they are.
[[nodiscard]] std::string without_folders(std::string_view words);

// Returns whether `bytes` are UTF-8 (RFC 3629: no overlong forms, no surrogates).
[[nodiscard]] bool is_utf8(std::string_view bytes);

}  // namespace tidemill
