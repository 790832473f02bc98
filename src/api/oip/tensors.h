// Tensors of a request, out of JSON or bytes, into columns and matrices. Private to this room.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtimes/types.h"
#include "storage/tables/frame.h"

namespace simdjson::dom {
class element;
}

namespace tidemill::oip {

// The head of an input, checked: `count` is the product of `shape`.
struct InputHead {
  std::string name;
  runtimes::DataType data_type = runtimes::DataType::FP32;
  std::vector<std::int64_t> shape;
  std::uint64_t count = 0;
};

// Each returns the input's values. kInvalidArgument: another number of values than the shape says, a value that its
// data type cannot hold, text that is not UTF-8. In JSON null is a missing value; in binary a NaN is.

// As a column: FP32/FP64 real, whole numbers integer, BOOL boolean, BYTES text.
[[nodiscard]] Result<tables::Column> json_column(const InputHead& head, const simdjson::dom::element& data);
[[nodiscard]] Result<tables::Column> binary_column(const InputHead& head, std::string_view bytes);

// As the model's matrix, FP32 or FP64 only.
[[nodiscard]] Result<runtimes::Tensor> json_matrix(const InputHead& head, const simdjson::dom::element& data);
[[nodiscard]] Result<runtimes::Tensor> binary_matrix(const InputHead& head, std::string_view bytes);

}  // namespace tidemill::oip
