// Tensors and what a model says about its own.
#pragma once

#include <boost/describe.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/enums.h"

namespace tidemill::runtimes {

// Element types by their names in the Open Inference Protocol. FP16, BF16 and the complex types of ONNX are not
// offered.
enum class DataType { BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP32, FP64, BYTES };
BOOST_DESCRIBE_ENUM(DataType, BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP32, FP64, BYTES)

// Returns the size of one element in bytes; 0 for BYTES, whose elements are strings.
[[nodiscard]] std::size_t element_bytes(DataType type);

struct TensorInfo {
  std::string name;
  DataType data_type = DataType::FP32;
  std::vector<std::int64_t> shape{};  // -1 where any length fits
};
BOOST_DESCRIBE_STRUCT(TensorInfo, (), (name, data_type, shape))

// A tensor of somebody else's memory, which must outlive the call it is given to. Row-major. Either `bytes` (native
// byte order, length = the product of `shape` times element_bytes) or, for BYTES, one string an element.
struct TensorView {
  std::string_view name;
  DataType data_type = DataType::FP32;
  std::span<const std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::span<const std::string> strings;
};

// A tensor that owns its memory.
struct Tensor {
  std::string name;
  DataType data_type = DataType::FP32;
  std::vector<std::int64_t> shape{};
  std::vector<std::byte> bytes{};
  std::vector<std::string> strings{};

  [[nodiscard]] TensorView view() const { return {name, data_type, shape, bytes, strings}; }
  // Returns the elements as T, which must be the C++ type of data_type.
  template <class T>
  [[nodiscard]] std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

struct LoadOptions {
  int intra_op_threads = 1;  // threads of one Run; 1 = the caller's own, no pool is made
};

// What a file holds, as found without running any of it.
struct Inspection {
  std::int64_t ir_version = 0;
  std::string producer;
  std::int64_t nodes = 0;
  std::uint64_t initializer_bytes = 0;  // of all weights, as their shapes say
  std::vector<std::string> domains;     // of the operators used, such as "ai.onnx.ml"
};

// Limits of what is accepted as a model file.
struct FileLimits {
  std::uint64_t file_bytes_max = 1u << 30;
  std::uint64_t initializer_bytes_max = 2ull << 30;
  std::int64_t nodes_max = 1'000'000;
  int depth_max = 32;  // of graphs within graphs (If, Loop, Scan)
};

// How a matrix model's outputs are read; see Session::score.
struct ScoreRule {
  std::string output;      // name of the output that is read
  std::int64_t width = 0;  // how many columns it has: 1 or 2; 0 when its shape is free, then each run shows
};
BOOST_DESCRIBE_STRUCT(ScoreRule, (), (output, width))

}  // namespace tidemill::runtimes
