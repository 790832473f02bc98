// Models running in this process, by ONNX Runtime.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "runtimes/types.h"

namespace tidemill::runtimes {

class Library;

// A loaded model: immutable, so any number of threads may run it at once. Keeps the runtime's library loaded while it
// lives.
class Session {
 public:
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  [[nodiscard]] const std::vector<TensorInfo>& inputs() const;
  [[nodiscard]] const std::vector<TensorInfo>& outputs() const;

  // Runs the model on one tensor per input, in any order, and returns every output in the order of outputs(). Inputs
  // are not copied. Errors (kInvalidArgument): an input that is missing, unknown or given twice, another data type, a
  // shape that does not fit, bytes that are not the shape's; reason "runtimes.not_a_tensor" for an output that is a
  // sequence or map (the zipmap of scikit-learn's converters). kInternal when the runtime itself fails on these values.
  [[nodiscard]] Result<std::vector<Tensor>> run(std::span<const TensorView> inputs) const;

  // Returns how scores are read off the outputs, or the error that score() would answer. The rule, decided once at
  // load:
  //  1. The model has one input of shape [N, columns], N free, FP32 or FP64.
  //  2. The output named "probabilities", else "probability", "output_probability", "scores" or "score", else the only
  //  output
  //     of a floating type, is the score's.
  //  3. Shape [N, 2]: column 1, the probability of class 1. Shape [N] or [N, 1]: that value itself. Anything else is
  //  refused.
  [[nodiscard]] const Result<ScoreRule>& score_rule() const;

  // Returns how many columns the matrix must have; 0 when the model takes any number, or is no matrix model.
  [[nodiscard]] std::int64_t columns() const;

  // Writes the score of each row of a row-major matrix to `scores`, one a row: for classifiers the probability of the
  // positive class. NaN where the model gives NaN. An FP64 model gets the values widened. Nothing is allocated beyond
  // what the runtime needs. Errors: those of score_rule(), a matrix that is not scores.size() × columns, or one of a
  // width that the model does not take.
  [[nodiscard]] Result<void> score(std::span<const float> matrix, std::int64_t columns, std::span<double> scores) const;
  // The same for values of double precision; an FP32 model gets them rounded.
  [[nodiscard]] Result<void> score(std::span<const double> matrix, std::int64_t columns,
                                   std::span<double> scores) const;

 private:
  friend class Runtime;
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

// The library, one per process. Any thread.
class Runtime {
 public:
  // Loads libonnxruntime: the file given, or a name that the system's loader finds; empty = beside the program, or
  // where it was at build time. kUnavailable when it is missing or too old for API version kApiVersion; the rest of the
  // server works without it, so callers may go on and answer that error later.
  [[nodiscard]] static Result<std::shared_ptr<Runtime>> create(const std::filesystem::path& library);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Loads a model that has passed accept() once. The file may be removed afterwards. kInvalidArgument, reason
  // "runtimes.model_invalid", with the runtime's own words when it is not a model that this runtime can run.
  [[nodiscard]] Result<std::shared_ptr<const Session>> load(const std::filesystem::path& file,
                                                            const LoadOptions& options = {}) const;

  // Returns the version of the library, such as "1.32.0".
  [[nodiscard]] const std::string& version() const;
  [[nodiscard]] const std::filesystem::path& library() const;

 private:
  explicit Runtime(std::shared_ptr<const Library> library);
  const std::shared_ptr<const Library> library_;
};

constexpr std::uint32_t kApiVersion = 24;

}  // namespace tidemill::runtimes
