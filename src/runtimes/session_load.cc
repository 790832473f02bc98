// Session: loading, and what a model says of its inputs and outputs.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "runtimes/session.h"

namespace tidemill::runtimes {
namespace {

constexpr std::string_view kInvalid = "runtimes.model_invalid";

Result<DataType> from_onnx(ONNXTensorElementDataType type, std::string_view name) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL:
      return DataType::BOOL;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return DataType::UINT8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16:
      return DataType::UINT16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32:
      return DataType::UINT32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64:
      return DataType::UINT64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8:
      return DataType::INT8;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16:
      return DataType::INT16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32:
      return DataType::INT32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64:
      return DataType::INT64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return DataType::FP32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE:
      return DataType::FP64;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING:
      return DataType::BYTES;
    default:
      return fail(Code::kInvalidArgument, std::string(kInvalid),
                  fmt::format("'{}' has elements of ONNX type {}, which is not offered.", name, static_cast<int>(type)),
                  "Cast it in the model to float, double, an integer, bool or string.");
  }
}

bool is_floating(DataType type) { return type == DataType::FP32 || type == DataType::FP64; }

std::unexpected<Error> no_scores(std::string why, std::string remedy) {
  return fail(Code::kInvalidArgument, "runtimes.no_score", std::move(why), std::move(remedy));
}

}  // namespace

Result<std::unique_ptr<Session::Impl>> Session::Impl::create(std::shared_ptr<const Library> library,
                                                             std::string_view bytes, const LoadOptions& options) {
  std::unique_ptr<Impl> impl(new Impl(std::move(library)));
  TM_CHECK(impl->load(bytes, options));
  TM_CHECK(impl->describe(true, impl->inputs_));
  TM_CHECK(impl->describe(false, impl->outputs_));
  for (const TensorInfo& input : impl->inputs_) impl->input_names_.push_back(input.name.c_str());
  for (const TensorInfo& output : impl->outputs_) impl->output_names_.push_back(output.name.c_str());
  impl->rule_ = impl->find_rule();
  if (impl->rule_)
    impl->columns_ = impl->inputs_[0].shape.size() == 2 ? std::max<std::int64_t>(impl->inputs_[0].shape[1], 0) : 0;
  return impl;
}

Result<void> Session::Impl::load(std::string_view bytes, const LoadOptions& options) {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInternal, "runtimes.options", "ONNX Runtime refuses its options");
  };
  Handle<OrtSessionOptions> settings(*library_, &OrtApi::ReleaseSessionOptions);
  TM_CHECK(must(api.CreateSessionOptions(settings.out())));
  TM_CHECK(must(api.SetSessionLogSeverityLevel(settings.get(), ORT_LOGGING_LEVEL_FATAL)));
  TM_CHECK(must(api.SetSessionGraphOptimizationLevel(settings.get(), ORT_ENABLE_ALL)));
  TM_CHECK(must(api.SetSessionExecutionMode(settings.get(), ORT_SEQUENTIAL)));
  TM_CHECK(must(api.SetIntraOpNumThreads(settings.get(), std::max(options.intra_op_threads, 1))));
  TM_CHECK(must(api.SetInterOpNumThreads(settings.get(), 1)));
  // Waiting threads must not burn the processor that other deployments need.
  TM_CHECK(must(api.AddSessionConfigEntry(settings.get(), "session.intra_op.allow_spinning", "0")));
  return library_->check(
      api.CreateSessionFromArray(library_->env(), bytes.data(), bytes.size(), settings.get(), session_.out()),
      Code::kInvalidArgument, kInvalid, "The model cannot be loaded");
}

Result<void> Session::Impl::describe(bool inputs, std::vector<TensorInfo>& infos) {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInvalidArgument, kInvalid, "The model's inputs and outputs cannot be read");
  };
  std::size_t count = 0;
  TM_CHECK(must(inputs ? api.SessionGetInputCount(session_.get(), &count)
                       : api.SessionGetOutputCount(session_.get(), &count)));
  for (std::size_t i = 0; i < count; ++i) {
    char* name = nullptr;
    TM_CHECK(must(inputs ? api.SessionGetInputName(session_.get(), i, library_->allocator(), &name)
                         : api.SessionGetOutputName(session_.get(), i, library_->allocator(), &name)));
    TensorInfo info{name};
    library_->allocator()->Free(library_->allocator(), name);
    Handle<OrtTypeInfo> type(*library_, &OrtApi::ReleaseTypeInfo);
    TM_CHECK(must(inputs ? api.SessionGetInputTypeInfo(session_.get(), i, type.out())
                         : api.SessionGetOutputTypeInfo(session_.get(), i, type.out())));
    TM_CHECK(describe_type(*type.get(), inputs, info));
    infos.push_back(std::move(info));
  }
  return {};
}

Result<void> Session::Impl::describe_type(const OrtTypeInfo& type, bool input, TensorInfo& info) {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInvalidArgument, kInvalid,
                           fmt::format("The type of '{}' cannot be read", info.name));
  };
  const OrtTensorTypeAndShapeInfo* tensor = nullptr;  // belongs to `type`
  TM_CHECK(must(api.CastTypeInfoToTensorInfo(&type, &tensor)));
  if (tensor == nullptr) {
    if (input) {
      return fail(Code::kInvalidArgument, std::string(kInvalid), fmt::format("Input '{}' is no tensor.", info.name),
                  "Export a model whose inputs are tensors.");
    }
    info.data_type = DataType::BYTES;
    not_tensors_.push_back(info.name);
    return {};
  }
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  TM_CHECK(must(api.GetTensorElementType(tensor, &element)));
  info.data_type = TM_TRY(from_onnx(element, info.name));
  std::size_t rank = 0;
  TM_CHECK(must(api.GetDimensionsCount(tensor, &rank)));
  info.shape.resize(rank);
  return must(api.GetDimensions(tensor, info.shape.data(), rank));
}

Result<ScoreRule> Session::Impl::find_rule() const {
  if (inputs_.size() != 1 || !is_floating(inputs_[0].data_type) || inputs_[0].shape.size() > 2 ||
      inputs_[0].shape.size() == 1) {
    return no_scores(
        fmt::format(
            "The model has {} inputs, the first '{}' of type {} and shape [{}]; scores need one FP32 or FP64 input of "
            "shape [N, columns].",
            inputs_.size(), inputs_.empty() ? "" : inputs_[0].name,
            inputs_.empty() ? "" : enum_name(inputs_[0].data_type),
            inputs_.empty() ? "" : fmt::format("{}", fmt::join(inputs_[0].shape, ", "))),
        "Export with one matrix input, such as initial_types=[('input', FloatTensorType([None, columns]))].");
  }
  if (!inputs_[0].shape.empty() && inputs_[0].shape[0] != -1) {
    return no_scores(fmt::format("Input '{}' takes exactly {} rows.", inputs_[0].name, inputs_[0].shape[0]),
                     "Export with a free first dimension (None).");
  }
  const TensorInfo& output = *TM_TRY(find_score_output());
  const auto& shape = output.shape;
  const bool rank_known = !shape.empty();
  const std::int64_t width = !rank_known ? 0 : shape.size() == 1 ? 1 : std::max<std::int64_t>(shape.back(), 0);
  if (shape.size() > 2 || width > 2) {
    return no_scores(fmt::format("Output '{}' has the shape [{}].", output.name, fmt::join(shape, ", ")),
                     "Scores are read from shapes [N], [N, 1] and [N, 2]: export a binary classifier.");
  }
  return ScoreRule{output.name, width};
}

Result<const TensorInfo*> Session::Impl::find_score_output() const {
  constexpr std::array<std::string_view, 5> kNames = {"probabilities", "probability", "output_probability", "scores",
                                                      "score"};
  const auto zipmap = [&](std::string_view name) {
    return no_scores(
        fmt::format("Output '{}' is a sequence or a map, no tensor.", name),
        "Export with zipmap off: to_onnx(…, options={id(model): {'zipmap': False}}), or zipmap=False in onnxmltools.");
  };
  for (const std::string_view name : kNames) {
    if (std::find(not_tensors_.begin(), not_tensors_.end(), name) != not_tensors_.end()) return zipmap(name);
    for (const TensorInfo& output : outputs_) {
      if (output.name == name && is_floating(output.data_type)) return &output;
    }
  }
  std::vector<const TensorInfo*> floating;
  for (const TensorInfo& output : outputs_) {
    if (is_floating(output.data_type)) floating.push_back(&output);
  }
  if (floating.size() == 1) return floating[0];
  if (!not_tensors_.empty()) return zipmap(not_tensors_[0]);
  return no_scores(fmt::format("None of the {} outputs is named 'probabilities', and {} are of a floating type.",
                               outputs_.size(), floating.size()),
                   "Name the output with the probabilities 'probabilities'.");
}

}  // namespace tidemill::runtimes
