// Base64 (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemill {

// Returns the text, padded with '='.
[[nodiscard]] std::string encode_base64(std::string_view bytes);
// Returns the bytes, or nothing for other characters. Padding may be missing.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace tidemill
