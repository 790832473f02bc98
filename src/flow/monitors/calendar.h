// Where windows begin and end.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace tidemill::monitors {

struct Span {
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;  // exclusive
  std::string label;
};

// A sequence of windows without gaps: days, weeks from Monday, months, or spans of a fixed length counted from 1970.
// Immutable: any thread.
class Calendar {
 public:
  // `window` is "day", "week", "month" or a duration of at least a minute; `utc_offset_minutes` (-1439 to 1439) says
  // where days begin. kInvalidArgument otherwise.
  [[nodiscard]] static Result<Calendar> create(std::string_view window, std::int64_t utc_offset_minutes);

  // Returns the window that holds the moment.
  [[nodiscard]] Span at(std::int64_t at_ms) const;

 private:
  enum class Unit { fixed, day, week, month };
  Calendar(Unit unit, std::int64_t length_ms, std::int64_t offset_ms)
      : unit_(unit), length_ms_(length_ms), offset_ms_(offset_ms) {}

  Unit unit_;
  std::int64_t length_ms_;  // of Unit::fixed
  std::int64_t offset_ms_;
};

}  // namespace tidemill::monitors
