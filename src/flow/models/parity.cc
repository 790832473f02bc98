#include "flow/models/parity.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

namespace tidemill::models {
namespace {

std::unexpected<Error> no_proof(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "models.parity_impossible", std::move(message), std::move(remedy));
}

struct Comparison {
  Parity parity;
  std::size_t worst_row = 0;
};

Result<Comparison> compare(std::span<const double> ours, std::span<const double> original, double threshold) {
  Comparison comparison;
  double sum = 0;
  std::size_t agreed = 0;
  for (std::size_t row = 0; row < ours.size(); ++row) {
    const double difference = std::abs(ours[row] - original[row]);
    if (std::isnan(difference)) {
      return no_proof(fmt::format("Row {} has the probability {} in the ONNX model and {} in the original.", row,
                                  ours[row], original[row]),
                      "Both must give a number for every row; look at the missing values of that row.");
    }
    if (difference > comparison.parity.max_abs_diff) {
      comparison.parity.max_abs_diff = difference;
      comparison.worst_row = row;
    }
    sum += difference;
    if ((ours[row] >= threshold) == (original[row] >= threshold)) ++agreed;
  }
  const auto rows = static_cast<double>(ours.size());
  comparison.parity.rows = static_cast<std::int64_t>(ours.size());
  comparison.parity.mean_abs_diff = sum / rows;
  comparison.parity.label_agreement = static_cast<double>(agreed) / rows;
  comparison.parity.threshold = threshold;
  return comparison;
}

}  // namespace

Result<Parity> measure_parity(const runtimes::Session& session, const Encoder& encoder, const tables::Frame& rows,
                              std::span<const double> original, std::string onnx, const ParityLimits& limits) {
  if (rows.rows != original.size()) {
    return no_proof(fmt::format("There are {} rows but {} predictions of the original.", rows.rows, original.size()),
                    "Give the original's prediction for each row, in the same order.");
  }
  if (static_cast<std::int64_t>(rows.rows) < limits.rows_min || rows.rows == 0) {
    return no_proof(fmt::format("There are {} rows; a proof needs {} (rows_min).", rows.rows, limits.rows_min),
                    "Compare on more rows.");
  }
  const std::vector<float> matrix = TM_TRY(encoder.encode(rows));
  std::vector<double> ours(rows.rows);
  TM_CHECK(session.score(matrix, static_cast<std::int64_t>(encoder.width()), ours));

  Comparison comparison = TM_TRY(compare(ours, original, limits.threshold));
  Parity& parity = comparison.parity;
  parity.onnx = std::move(onnx);
  parity.max_abs_diff_limit = limits.max_abs_diff;
  parity.label_agreement_limit = limits.label_agreement;
  if (parity.max_abs_diff > limits.max_abs_diff || parity.label_agreement < limits.label_agreement) {
    return fail(Code::kFailedPrecondition, "models.parity_missed",
                fmt::format("The ONNX model differs from the original: by {:.3g} in row {} ({:.9g} instead of {:.9g}; "
                            "limit {:g}), labels agree in "
                            "{:.4g} % of {} rows (limit {:g} %).",
                            parity.max_abs_diff, comparison.worst_row, ours[comparison.worst_row],
                            original[comparison.worst_row], limits.max_abs_diff, 100 * parity.label_agreement,
                            parity.rows, 100 * limits.label_agreement),
                "Train on float32 values (numbers that fall between a split in double precision differ), or raise the "
                "limit knowingly.");
  }
  return std::move(parity);
}

}  // namespace tidemill::models
