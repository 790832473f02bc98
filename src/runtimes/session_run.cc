// Session: running.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <type_traits>

#include "runtimes/session.h"

namespace tidemill::runtimes {
namespace {

constexpr std::string_view kRunFailed = "runtimes.run_failed";
constexpr std::string_view kInput = "runtimes.input";

ONNXTensorElementDataType to_onnx(DataType type) {
  switch (type) {
    case DataType::BOOL:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL;
    case DataType::UINT8:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case DataType::UINT16:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16;
    case DataType::UINT32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32;
    case DataType::UINT64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64;
    case DataType::INT8:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case DataType::INT16:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16;
    case DataType::INT32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    case DataType::INT64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case DataType::FP32:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    case DataType::FP64:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE;
    case DataType::BYTES:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING;
  }
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
}

DataType from_onnx(ONNXTensorElementDataType type) {
  for (const DataType known :
       {DataType::FP32, DataType::INT64, DataType::FP64, DataType::BYTES, DataType::BOOL, DataType::INT32,
        DataType::UINT8, DataType::UINT16, DataType::UINT32, DataType::UINT64, DataType::INT8, DataType::INT16}) {
    if (to_onnx(known) == type) return known;
  }
  return DataType::BYTES;
}

std::unexpected<Error> bad_input(std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, std::string(kInput), std::move(message), std::move(remedy));
}

// The number of elements of a shape, or nothing when it is negative somewhere or past 2^63.
std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t product = 1;
  for (const std::int64_t length : shape) {
    if (length < 0 || __builtin_mul_overflow(product, length, &product)) return std::nullopt;
  }
  return static_cast<std::uint64_t>(product);
}

}  // namespace

Result<void> Session::Impl::check_fits(const TensorView& view, const TensorInfo& info) const {
  if (view.data_type != info.data_type) {
    return bad_input(fmt::format("Input '{}' is {}, but the model takes {}.", view.name, enum_name(view.data_type),
                                 enum_name(info.data_type)),
                     "Send the data type that the model's metadata names.");
  }
  bool fits =
      info.shape.empty() || info.shape.size() == view.shape.size();  // an empty shape is also one of unknown rank
  for (std::size_t i = 0; fits && i < info.shape.size(); ++i)
    fits = info.shape[i] < 0 || info.shape[i] == view.shape[i];
  const auto count = element_count(view.shape);
  if (!fits || !count) {
    return bad_input(fmt::format("Input '{}' has the shape [{}], but the model takes [{}].", view.name,
                                 fmt::join(view.shape, ", "), fmt::join(info.shape, ", ")),
                     "Send the shape that the model's metadata names; -1 is any length.");
  }
  const bool whole = info.data_type == DataType::BYTES
                         ? view.strings.size() == *count
                         : view.bytes.size() % element_bytes(info.data_type) == 0 &&
                               view.bytes.size() / element_bytes(info.data_type) == *count;
  if (!whole) {
    return bad_input(fmt::format("Input '{}' of shape [{}] has {} elements, but its data does not hold so many.",
                                 view.name, fmt::join(view.shape, ", "), *count),
                     "Send exactly as many elements as the shape says.");
  }
  return {};
}

Result<std::vector<const TensorView*>> Session::Impl::in_order(std::span<const TensorView> views) const {
  std::vector<const TensorView*> ordered(inputs_.size(), nullptr);
  for (const TensorView& view : views) {
    const auto info = std::find_if(inputs_.begin(), inputs_.end(), [&](const auto& i) { return i.name == view.name; });
    if (info == inputs_.end()) {
      return bad_input(fmt::format("The model has no input '{}'.", view.name),
                       "Send the inputs that its metadata names.");
    }
    const TensorView*& slot = ordered[static_cast<std::size_t>(info - inputs_.begin())];
    if (slot != nullptr)
      return bad_input(fmt::format("Input '{}' is given twice.", view.name), "Send each input once.");
    TM_CHECK(check_fits(view, *info));
    slot = &view;
  }
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    if (ordered[i] == nullptr) {
      return bad_input(fmt::format("Input '{}' is missing.", inputs_[i].name), "Send every input of the model.");
    }
  }
  return ordered;
}

Result<Session::Impl::Value> Session::Impl::wrap(const TensorView& view) const {
  const OrtApi& api = library_->api();
  Value value(*library_, &OrtApi::ReleaseValue);
  if (view.data_type == DataType::BYTES) {
    std::vector<const char*> texts;
    texts.reserve(view.strings.size());
    for (const std::string& text : view.strings) texts.push_back(text.c_str());
    TM_CHECK(library_->check(api.CreateTensorAsOrtValue(library_->allocator(), view.shape.data(), view.shape.size(),
                                                        ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, value.out()),
                             Code::kInternal, kRunFailed, "A tensor of strings cannot be made"));
    TM_CHECK(library_->check(api.FillStringTensor(value.get(), texts.data(), texts.size()), Code::kInternal, kRunFailed,
                             "A tensor of strings cannot be filled"));
    return value;
  }
  // The runtime takes a mutable pointer but does not write to inputs.
  TM_CHECK(library_->check(api.CreateTensorWithDataAsOrtValue(
                               library_->memory(), const_cast<std::byte*>(view.bytes.data()), view.bytes.size(),
                               view.shape.data(), view.shape.size(), to_onnx(view.data_type), value.out()),
                           Code::kInternal, kRunFailed, "A tensor cannot be made"));
  return value;
}

Result<Tensor> Session::Impl::unwrap(const OrtValue& value, const std::string& name) const {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInternal, kRunFailed, fmt::format("Output '{}' cannot be read", name));
  };
  Handle<OrtTensorTypeAndShapeInfo> info(*library_, &OrtApi::ReleaseTensorTypeAndShapeInfo);
  TM_CHECK(must(api.GetTensorTypeAndShape(&value, info.out())));
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t rank = 0;
  std::size_t count = 0;
  TM_CHECK(must(api.GetTensorElementType(info.get(), &element)));
  TM_CHECK(must(api.GetDimensionsCount(info.get(), &rank)));
  TM_CHECK(must(api.GetTensorShapeElementCount(info.get(), &count)));
  Tensor tensor{name, from_onnx(element), std::vector<std::int64_t>(rank)};
  TM_CHECK(must(api.GetDimensions(info.get(), tensor.shape.data(), rank)));
  if (tensor.data_type == DataType::BYTES) {
    TM_CHECK(unwrap_strings(value, count, tensor));
    return tensor;
  }
  const void* data = nullptr;
  TM_CHECK(must(api.GetTensorData(&value, &data)));
  tensor.bytes.resize(count * element_bytes(tensor.data_type));
  if (count > 0) std::memcpy(tensor.bytes.data(), data, tensor.bytes.size());
  return tensor;
}

Result<void> Session::Impl::unwrap_strings(const OrtValue& value, std::size_t count, Tensor& tensor) const {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInternal, kRunFailed, fmt::format("Output '{}' cannot be read", tensor.name));
  };
  std::size_t length = 0;
  TM_CHECK(must(api.GetStringTensorDataLength(&value, &length)));
  std::string all(length, '\0');
  std::vector<std::size_t> starts(count);
  TM_CHECK(must(api.GetStringTensorContent(&value, all.data(), length, starts.data(), count)));
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t end = i + 1 < count ? starts[i + 1] : length;
    tensor.strings.push_back(all.substr(starts[i], end - starts[i]));
  }
  return {};
}

Result<std::vector<Tensor>> Session::Impl::run(std::span<const TensorView> views) const {
  if (!not_tensors_.empty()) {
    return fail(Code::kInvalidArgument, "runtimes.not_a_tensor",
                fmt::format("Output '{}' is a sequence or a map, no tensor.", not_tensors_[0]),
                "Export the model with zipmap off (options={id(model): {'zipmap': False}}).");
  }
  const std::vector<const TensorView*> ordered = TM_TRY(in_order(views));
  std::vector<Value> inputs;
  std::vector<const OrtValue*> raw_inputs;
  for (const TensorView* view : ordered) {
    inputs.push_back(TM_TRY(wrap(*view)));
    raw_inputs.push_back(inputs.back().get());
  }
  std::vector<Value> outputs;
  std::vector<OrtValue*> raw_outputs(outputs_.size(), nullptr);
  OrtStatus* status =
      library_->api().Run(session_.get(), nullptr, input_names_.data(), raw_inputs.data(), raw_inputs.size(),
                          output_names_.data(), output_names_.size(), raw_outputs.data());
  for (OrtValue* raw : raw_outputs) {
    outputs.emplace_back(*library_, &OrtApi::ReleaseValue);
    *outputs.back().out() = raw;
  }
  TM_CHECK(library_->check(status, Code::kInternal, kRunFailed, "The model fails on these values"));
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    tensors.push_back(TM_TRY(unwrap(*outputs[i].get(), outputs_[i].name)));
  return tensors;
}

Result<Session::Impl::Value> Session::Impl::run_matrix(const void* data, std::size_t bytes, std::int64_t rows,
                                                       std::int64_t columns) const {
  const OrtApi& api = library_->api();
  const std::array<std::int64_t, 2> shape = {rows, columns};
  Value input(*library_, &OrtApi::ReleaseValue);
  TM_CHECK(library_->check(
      api.CreateTensorWithDataAsOrtValue(library_->memory(), const_cast<void*>(data), bytes, shape.data(), shape.size(),
                                         to_onnx(inputs_[0].data_type), input.out()),
      Code::kInternal, kRunFailed, "A matrix cannot be made"));
  const OrtValue* raw_input = input.get();
  const char* name = rule_->output.c_str();
  Value output(*library_, &OrtApi::ReleaseValue);
  TM_CHECK(library_->check(api.Run(session_.get(), nullptr, input_names_.data(), &raw_input, 1, &name, 1, output.out()),
                           Code::kInternal, kRunFailed, "The model fails on these values"));
  return output;
}

Result<void> Session::Impl::copy_scores(const OrtValue& output, std::span<double> scores) const {
  const OrtApi& api = library_->api();
  const auto must = [&](OrtStatus* status) {
    return library_->check(status, Code::kInternal, kRunFailed,
                           fmt::format("Output '{}' cannot be read", rule_->output));
  };
  Handle<OrtTensorTypeAndShapeInfo> info(*library_, &OrtApi::ReleaseTensorTypeAndShapeInfo);
  TM_CHECK(must(api.GetTensorTypeAndShape(&output, info.out())));
  std::size_t count = 0;
  ONNXTensorElementDataType element = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  TM_CHECK(must(api.GetTensorShapeElementCount(info.get(), &count)));
  TM_CHECK(must(api.GetTensorElementType(info.get(), &element)));
  const void* data = nullptr;
  TM_CHECK(must(api.GetTensorData(&output, &data)));
  const std::size_t width = count / scores.size();
  if ((width != 1 && width != 2) || width * scores.size() != count) {
    return fail(Code::kInvalidArgument, "runtimes.no_score",
                fmt::format("Output '{}' has {} values for {} rows.", rule_->output, count, scores.size()),
                "Scores are read from shapes [N], [N, 1] and [N, 2]: export a binary classifier.");
  }
  const auto copy = [&](const auto* values) {
    for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<double>(values[i * width + width - 1]);
  };
  if (element == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE) {
    copy(static_cast<const double*>(data));
  } else {
    copy(static_cast<const float*>(data));
  }
  return {};
}

template <class T>
Result<void> Session::Impl::score(std::span<const T> matrix, std::int64_t columns, std::span<double> scores) const {
  if (!rule_) return std::unexpected(rule_.error());
  if (columns < 1 || matrix.size() % static_cast<std::size_t>(columns) != 0 ||
      matrix.size() / static_cast<std::size_t>(columns) != scores.size()) {
    return bad_input(
        fmt::format("The matrix has {} values for {} rows of {} columns.", matrix.size(), scores.size(), columns),
        "Give rows × columns values.");
  }
  if (columns_ != 0 && columns != columns_) {
    return bad_input(fmt::format("The matrix has {} columns, but the model takes {}.", columns, columns_),
                     "Give the columns that the model was exported with.");
  }
  if (scores.empty()) return {};
  const auto rows = static_cast<std::int64_t>(scores.size());
  const auto run_as = [&]<class U>(U) -> Result<void> {
    if constexpr (std::is_same_v<U, T>) {
      const Value output = TM_TRY(run_matrix(matrix.data(), matrix.size_bytes(), rows, columns));
      return copy_scores(*output.get(), scores);
    } else {
      const std::vector<U> converted(matrix.begin(), matrix.end());
      const Value output = TM_TRY(run_matrix(converted.data(), converted.size() * sizeof(U), rows, columns));
      return copy_scores(*output.get(), scores);
    }
  };
  return inputs_[0].data_type == DataType::FP64 ? run_as(double{}) : run_as(float{});
}

template Result<void> Session::Impl::score<float>(std::span<const float>, std::int64_t, std::span<double>) const;
template Result<void> Session::Impl::score<double>(std::span<const double>, std::int64_t, std::span<double>) const;

}  // namespace tidemill::runtimes
