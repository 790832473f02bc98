// Checks and sums that the files of this room share; not for others.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"

namespace tidemill::statistics {

// A sum whose error does not grow with the number of terms (Neumaier 1974).
class Sum {
 public:
  void add(double term) {
    const double next = sum_ + term;
    lost_ += std::abs(sum_) >= std::abs(term) ? (sum_ - next) + term : (term - next) + sum_;
    sum_ = next;
  }
  [[nodiscard]] double value() const { return sum_ + lost_; }

 private:
  double sum_ = 0;
  double lost_ = 0;
};

// Returns an error unless there are rows, as many labels as scores, and only 0 and 1 among them.
[[nodiscard]] Result<void> check_labels(std::span<const double> scores, std::span<const std::uint8_t> labels);

// Returns an error naming the first row whose score is NaN.
[[nodiscard]] Result<void> check_not_nan(std::span<const double> scores);

// Returns an error naming the first row whose probability is NaN or outside 0..1.
[[nodiscard]] Result<void> check_probabilities(std::span<const double> probabilities);

// Returns an error unless 0 < confidence < 1.
[[nodiscard]] Result<void> check_confidence(double confidence);

}  // namespace tidemill::statistics
