#include "runtimes/types.h"

namespace tidemill::runtimes {

std::size_t element_bytes(DataType type) {
  switch (type) {
    case DataType::BOOL:
    case DataType::UINT8:
    case DataType::INT8:
      return 1;
    case DataType::UINT16:
    case DataType::INT16:
      return 2;
    case DataType::UINT32:
    case DataType::INT32:
    case DataType::FP32:
      return 4;
    case DataType::UINT64:
    case DataType::INT64:
    case DataType::FP64:
      return 8;
    case DataType::BYTES:
      return 0;
  }
  return 0;
}

}  // namespace tidemill::runtimes
