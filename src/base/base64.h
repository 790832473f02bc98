// Base64 (RFC 4648), as page tokens and Protobuf's JSON have it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace tidemill::mlflow {

[[nodiscard]] std::string encode_base64(std::string_view bytes);
// Returns the bytes, or nothing for other characters. Padding may be missing.
[[nodiscard]] std::optional<std::string> decode_base64(std::string_view text);

}  // namespace tidemill::mlflow
