// Private to this room.
#pragma once

#include <string_view>

namespace tidemill::tables {

// Returns the offset of the first byte that is not well-formed UTF-8 (Unicode 15, table 3-7: no overlong form, no
// surrogate, nothing past U+10FFFF), or npos. A sequence cut off at the end counts as malformed.
[[nodiscard]] std::size_t first_bad_utf8(std::string_view text);

}  // namespace tidemill::tables
