// What a window of predictions says: quality, drift, verdicts, alerts. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "flow/models/types.h"
#include "flow/monitors/calendar.h"
#include "flow/monitors/types.h"
#include "flow/requirements/types.h"
#include "statistics/baseline.h"
#include "storage/tables/frame.h"

namespace tidemill::monitors {

// Predictions as plain columns of equal length; `label` is 0, 1 or kUnlabelled.
constexpr std::int8_t kUnlabelled = -1;
struct Rows {
  std::vector<std::int64_t> version;
  std::vector<std::string> role;
  std::vector<double> score;
  std::vector<std::int8_t> label;

  [[nodiscard]] std::size_t size() const { return score.size(); }
};

// Reads the columns version, role, score and label of what predictions::Predictions::joined returns. kInternal when one
// is missing or of another type.
[[nodiscard]] Result<Rows> rows_of(const tables::Frame& frame);

// Returns the quality of the rows at `indices`.
[[nodiscard]] Result<Quality> quality_of(const Rows& rows, std::span<const std::size_t> indices);

struct Evidence {
  const tables::Frame& frame;                      // rows of the window, feature columns included
  std::int64_t champion = 0;                       // whose baseline and columns these are
  const std::vector<models::ColumnSpec>& columns;  // empty: drift is not measured
  const std::optional<statistics::Baseline>& baseline;
  const std::optional<requirements::Requirement>& requirement;
};

// Returns the closed window, all but `closed_ms`. What callers got (champion and candidate) is judged; shadows are only
// listed. Drift is measured on the same rows, each feature against the champion's training baseline.
[[nodiscard]] Result<Window> evaluate(const Monitor& monitor, const Span& span, const Evidence& evidence);

// Returns the alerts in one sentence, such as "auc 0.661 misses >= 0.68; temp has drifted (PSI 1.92 >= 0.25)".
[[nodiscard]] std::string describe(const std::vector<Alert>& alerts);

}  // namespace tidemill::monitors
