// How answers are spelled on the wire: status lines, heads, ranges. Pure functions; private to api/http.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/http/message.h"

namespace tidemill::http {

// Returns "Not Found" for 404; "" for a status that nobody here sends.
[[nodiscard]] std::string_view reason_phrase(int status);

// What belongs to every head beside the answer itself.
struct HeadContext {
  std::string_view request_id;
  std::string_view date;  // IMF-fixdate
  bool keep_alive = true;
  bool http_1_0 = false;  // where keeping alive has to be said
};

// Returns the status line and the fields, with the empty line after them. `length` absent: no Content-Length (streams,
// 204, 304). A field that a handler filled with a line break or another control character is left out, so that no text
// can end the head early.
[[nodiscard]] std::string head_of(const Response& response, const HeadContext& context,
                                  std::optional<std::uint64_t> length);

struct Range {
  std::uint64_t first = 0;
  std::uint64_t last = 0;  // inclusive
};

// Reads a Range field for a file of `bytes` bytes: "bytes=a-b", "bytes=a-" or "bytes=-n". Nothing for other forms,
// which RFC 9110 (14.2) lets a server ignore. `*satisfiable` becomes false when the range lies beyond the file.
[[nodiscard]] std::optional<Range> parse_range(std::string_view text, std::uint64_t bytes, bool* satisfiable);

// Returns "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7).
[[nodiscard]] std::string http_date(std::int64_t at_s);

}  // namespace tidemill::http
