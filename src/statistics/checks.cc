#include "statistics/checks.h"

#include <fmt/format.h>

namespace tidemill::statistics {

Result<void> check_labels(std::span<const double> scores, std::span<const std::uint8_t> labels) {
  if (scores.size() != labels.size()) {
    return fail(Code::kInvalidArgument, "statistics.length",
                fmt::format("There are {} scores but {} labels.", scores.size(), labels.size()),
                "Give one label for each score.");
  }
  if (scores.empty()) {
    return fail(Code::kInvalidArgument, "statistics.empty", "There are no rows to compute from.",
                "Give at least one labelled row.");
  }
  for (std::size_t row = 0; row < labels.size(); ++row) {
    if (labels[row] > 1) {
      return fail(Code::kInvalidArgument, "statistics.label",
                  fmt::format("The label of row {} is {}.", row, labels[row]), "Labels are 0 and 1.");
    }
  }
  return {};
}

Result<void> check_not_nan(std::span<const double> scores) {
  for (std::size_t row = 0; row < scores.size(); ++row) {
    if (std::isnan(scores[row])) {
      return fail(Code::kInvalidArgument, "statistics.not_a_number", fmt::format("The score of row {} is NaN.", row),
                  "A model must score every row; look at the inputs of that row.");
    }
  }
  return {};
}

Result<void> check_probabilities(std::span<const double> probabilities) {
  for (std::size_t row = 0; row < probabilities.size(); ++row) {
    if (!(probabilities[row] >= 0 && probabilities[row] <= 1)) {
      return fail(Code::kInvalidArgument, "statistics.not_a_probability",
                  fmt::format("The probability of row {} is {}.", row, probabilities[row]),
                  "Probabilities lie in 0..1; export the model with its probabilities, not with raw scores.");
    }
  }
  return {};
}

Result<void> check_confidence(double confidence) {
  if (confidence > 0 && confidence < 1) return {};
  return fail(Code::kInvalidArgument, "statistics.confidence", fmt::format("The confidence is {}.", confidence),
              "Give a number between 0 and 1, such as 0.95.");
}

}  // namespace tidemill::statistics
