// One run over gathered requests: which version answers which row, and with what. Private to this room.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/predictions/predictions.h"
#include "flow/predictions/records.h"

namespace tidemill::predictions {

// What came of one request: its answer and its records, or why it failed.
struct Scored {
  Result<Answer> answer;
  std::vector<Record> records;  // one batch for each version and role
};

// Scores the works with what is loaded, each version once over all their rows. Returns one Scored for each work, in
// order; a request that does not fit fails alone. `now_ms` dates the records.
[[nodiscard]] std::vector<Scored> score(const Loaded& loaded, const Parts& parts, const std::vector<Work>& works,
                                        std::int64_t now_ms);

}  // namespace tidemill::predictions
