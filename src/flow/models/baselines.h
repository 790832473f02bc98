// Baselines and drift of whole frames, by a version's columns.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "flow/models/encoder.h"
#include "statistics/baseline.h"
#include "storage/tables/frame.h"

namespace tidemill::models {

// Returns the baseline of every column of `encoder` over the frame's rows, and of `scores` (one a row) where given.
// Errors of Encoder::numbers and codes.
[[nodiscard]] Result<statistics::Baseline> build_baseline(const Encoder& encoder, const tables::Frame& frame,
                                                          std::span<const double> scores = {});

// Returns the drift of every column that both the baseline and the frame have, in the order of the baseline. A column
// that the frame lacks is left out: a prediction log may hold fewer. kInvalidArgument for no rows.
[[nodiscard]] Result<std::vector<statistics::FeatureDrift>> measure_drift(const statistics::Baseline& baseline,
                                                                          const Encoder& encoder,
                                                                          const tables::Frame& frame);

}  // namespace tidemill::models
