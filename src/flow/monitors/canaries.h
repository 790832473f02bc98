// The judge of canaries. Pure but for what it is given; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "flow/deployments/types.h"
#include "statistics/ranking.h"

namespace tidemill::monitors {

enum class Ruling { wait, promote, roll_back };
BOOST_DESCRIBE_ENUM(Ruling, wait, promote, roll_back)

struct Judgement {
  Ruling ruling = Ruling::wait;
  std::string reason;     // one sentence
  json::Object evidence;  // the numbers
};

// Judges a candidate by rows that it answered and whose labels are known: `candidate` and `champion` are both versions'
// scores of those very rows. Paired, because AUCs of different rows differ by chance far more than two versions do
// (DeLong, DeLong & Clarke-Pearson 1988). Waits while there are fewer than rule.labels_min labels or one class only;
// promotes when the candidate's AUC is no more than rule.margin below the champion's. Errors: those of
// statistics::auc_difference.
[[nodiscard]] Result<Judgement> judge(const deployments::CanaryRule& rule, std::span<const double> candidate,
                                      std::span<const double> champion, std::span<const std::uint8_t> labels);

}  // namespace tidemill::monitors
