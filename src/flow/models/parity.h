// Proof that a converted model answers as the original did.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "flow/models/encoder.h"
#include "flow/models/types.h"
#include "runtimes/runtime.h"
#include "storage/tables/frame.h"

namespace tidemill::models {

struct ParityLimits {
  using json_defaults = void;
  double max_abs_diff = 1e-5;      // between the two probabilities of any row
  double label_agreement = 0.999;  // share of rows on the same side of `threshold`
  double threshold = 0.5;
  std::int64_t rows_min = 100;
};
BOOST_DESCRIBE_STRUCT(ParityLimits, (), (max_abs_diff, label_agreement, threshold, rows_min))

// Scores `rows` with the ONNX model in our own runtime and compares with `original`, the probabilities that the
// original model gave to the same rows in the same order. Fails closed: kFailedPrecondition "models.parity_missed"
// names the worst row and both values when a limit is missed, and kInvalidArgument when the numbers of rows differ,
// there are fewer than rows_min, or either probability is NaN. `onnx` is the SHA-256 of the model file, kept in the
// proof.
[[nodiscard]] Result<Parity> measure_parity(const runtimes::Session& session, const Encoder& encoder,
                                            const tables::Frame& rows, std::span<const double> original,
                                            std::string onnx, const ParityLimits& limits);

}  // namespace tidemill::models
