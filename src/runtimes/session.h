// What a Session is made of; private to this room.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtimes/library.h"
#include "runtimes/runtime.h"

namespace tidemill::runtimes {

class Session::Impl {
 public:
  // Loads the model in `bytes`.
  [[nodiscard]] static Result<std::unique_ptr<Impl>> create(std::shared_ptr<const Library> library,
                                                            std::string_view bytes, const LoadOptions& options);

  [[nodiscard]] Result<std::vector<Tensor>> run(std::span<const TensorView> views) const;
  template <class T>
  [[nodiscard]] Result<void> score(std::span<const T> matrix, std::int64_t columns, std::span<double> scores) const;

  std::vector<TensorInfo> inputs_;
  std::vector<TensorInfo> outputs_;  // those that are no tensor have data type BYTES and stand in not_tensors_ too
  Result<ScoreRule> rule_ = ScoreRule{};
  std::int64_t columns_ = 0;

 private:
  using Value = Handle<OrtValue>;

  explicit Impl(std::shared_ptr<const Library> library)
      : library_(std::move(library)), session_(*library_, &OrtApi::ReleaseSession) {}

  [[nodiscard]] Result<void> load(std::string_view bytes, const LoadOptions& options);
  [[nodiscard]] Result<void> describe(bool inputs, std::vector<TensorInfo>& infos);
  [[nodiscard]] Result<void> describe_type(const OrtTypeInfo& type, bool input, TensorInfo& info);
  [[nodiscard]] Result<ScoreRule> find_rule() const;
  [[nodiscard]] Result<const TensorInfo*> find_score_output() const;
  [[nodiscard]] Result<Value> wrap(const TensorView& view) const;
  [[nodiscard]] Result<Tensor> unwrap(const OrtValue& value, const std::string& name) const;
  [[nodiscard]] Result<void> unwrap_strings(const OrtValue& value, std::size_t count, Tensor& tensor) const;
  [[nodiscard]] Result<void> check_fits(const TensorView& view, const TensorInfo& info) const;
  [[nodiscard]] Result<std::vector<const TensorView*>> in_order(std::span<const TensorView> views) const;
  // Runs a matrix of the model's own type and returns the scored output.
  [[nodiscard]] Result<Value> run_matrix(const void* data, std::size_t bytes, std::int64_t rows,
                                         std::int64_t columns) const;
  [[nodiscard]] Result<void> copy_scores(const OrtValue& output, std::span<double> scores) const;

  const std::shared_ptr<const Library> library_;
  Handle<OrtSession> session_;
  std::vector<std::string> not_tensors_;   // names of outputs that are sequences or maps
  std::vector<const char*> input_names_;   // into inputs_, for the C API
  std::vector<const char*> output_names_;  // into outputs_
};

}  // namespace tidemill::runtimes
