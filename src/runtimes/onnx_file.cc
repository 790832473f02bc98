#include "runtimes/onnx_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/files.h"

namespace tidemill::runtimes {
namespace {

constexpr const char* kExportAnew = "Export the model anew, and check that the whole file was copied.";

std::unexpected<Error> not_a_model(std::string_view why) {
  return fail(Code::kInvalidArgument, "runtimes.model_invalid", fmt::format("The file is not an ONNX model: {}.", why),
              kExportAnew);
}

// One field of a protobuf message, as https://protobuf.dev/programming-guides/encoding lays it out.
struct Field {
  std::uint32_t number = 0;
  bool is_bytes = false;
  std::uint64_t integer = 0;  // varint and fixed types
  std::string_view bytes;     // length-delimited
};

// Reads the fields of one message. Views point into the given bytes.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }

  [[nodiscard]] Result<Field> next() {
    const std::uint64_t tag = TM_TRY(varint());
    Field field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    if (field.number == 0 || tag > 0xFFFFFFFFu) return not_a_model("a field has no valid number");
    switch (tag & 7) {
      case 0:
        field.integer = TM_TRY(varint());
        return field;
      case 1:
        TM_TRY(take(8));
        return field;
      case 2:
        field.is_bytes = true;
        field.bytes = TM_TRY(take(TM_TRY(varint())));
        return field;
      case 5:
        TM_TRY(take(4));
        return field;
      default:
        return not_a_model(fmt::format("field {} has the unknown wire type {}", field.number, tag & 7));
    }
  }

  [[nodiscard]] Result<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return not_a_model("it is cut short");
      const auto byte = static_cast<std::uint8_t>(rest_.front());
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    return not_a_model("a number is longer than 64 bits");
  }

 private:
  [[nodiscard]] Result<std::string_view> take(std::uint64_t bytes) {
    if (bytes > rest_.size()) return not_a_model("it is cut short");
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
};

// The bytes of one element of TensorProto.DataType, in halves of a byte; 0 for strings and undefined.
std::uint64_t half_bytes(std::uint64_t data_type) {
  constexpr std::array<std::uint64_t, 25> kHalves = {0,  8,  2,  2, 4, 4, 8, 16, 0, 2, 4, 16, 8,
                                                     16, 16, 32, 4, 2, 2, 2, 2,  1, 1, 1, 2};
  return data_type < kHalves.size() ? kHalves[data_type] : 16;
}

// Walks a model; every visit_* takes the bytes of one message of that name in onnx.proto3.
class Walker {
 public:
  explicit Walker(const FileLimits& limits) : limits_(limits) {}

  [[nodiscard]] Result<Inspection> model(std::string_view bytes) {
    bool has_graph = false;
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (field.number == 1) found_.ir_version = static_cast<std::int64_t>(field.integer);
      if (field.number == 2) found_.producer = std::string(field.bytes.substr(0, 128));
      if (field.number == 7 && field.is_bytes) {
        has_graph = true;
        TM_CHECK(visit_graph(field.bytes, 0));
      }
      if (field.number == 25 && field.is_bytes) TM_CHECK(visit_function(field.bytes));
    }
    if (!has_graph) return not_a_model("it has no graph");
    TM_CHECK(check_domains());
    found_.domains.assign(domains_.begin(), domains_.end());
    return std::move(found_);
  }

 private:
  Result<void> visit_graph(std::string_view bytes, int depth) {
    if (depth > limits_.depth_max) {
      return fail(Code::kTooLarge, "runtimes.model_too_deep",
                  fmt::format("Graphs are nested more than {} deep.", limits_.depth_max), "Export a flatter model.");
    }
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (!field.is_bytes) continue;
      if (field.number == 1) TM_CHECK(visit_node(field.bytes, depth));
      if (field.number == 5) TM_CHECK(visit_tensor(field.bytes));
      if (field.number == 15) TM_CHECK(visit_sparse_tensor(field.bytes));
    }
    return {};
  }

  Result<void> visit_node(std::string_view bytes, int depth) {
    if (++found_.nodes > limits_.nodes_max) {
      return fail(Code::kTooLarge, "runtimes.model_too_large",
                  fmt::format("The model has more than {} operators.", limits_.nodes_max), "Export a smaller model.");
    }
    std::string_view domain;
    std::string_view op_type;
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (!field.is_bytes) continue;
      if (field.number == 4) op_type = field.bytes;
      if (field.number == 5) TM_CHECK(visit_attribute(field.bytes, depth));
      if (field.number == 7) domain = field.bytes;
    }
    if (domains_.emplace(domain).second) first_operators_.emplace_back(domain, op_type);
    return {};
  }

  Result<void> visit_attribute(std::string_view bytes, int depth) {
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (!field.is_bytes) continue;
      if (field.number == 5 || field.number == 10) TM_CHECK(visit_tensor(field.bytes));
      if (field.number == 6 || field.number == 11) TM_CHECK(visit_graph(field.bytes, depth + 1));
      if (field.number == 22 || field.number == 23) TM_CHECK(visit_sparse_tensor(field.bytes));
    }
    return {};
  }

  Result<void> visit_function(std::string_view bytes) {
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (!field.is_bytes) continue;
      if (field.number == 7) TM_CHECK(visit_node(field.bytes, 0));
      if (field.number == 10) own_domains_.emplace(field.bytes);
    }
    return {};
  }

  Result<void> visit_sparse_tensor(std::string_view bytes) {
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (field.is_bytes && (field.number == 1 || field.number == 2)) TM_CHECK(visit_tensor(field.bytes));
    }
    return {};
  }

  Result<void> visit_tensor(std::string_view bytes) {
    std::uint64_t elements = 1;
    std::uint64_t data_type = 0;
    std::string name;
    for (Reader reader(bytes); !reader.done();) {
      const Field field = TM_TRY(reader.next());
      if (field.number == 8) name = std::string(field.bytes.substr(0, 128));
      if (field.number == 2) data_type = field.integer;
      if (field.number == 13 || (field.number == 14 && field.integer != 0)) return external(name);
      if (field.number != 1) continue;
      if (!field.is_bytes) TM_CHECK(multiply(elements, field.integer));
      for (Reader packed(field.bytes); !packed.done();) TM_CHECK(multiply(elements, TM_TRY(packed.varint())));
    }
    std::uint64_t halves = 0;
    if (__builtin_mul_overflow(elements, half_bytes(data_type), &halves)) return too_large();
    found_.initializer_bytes += halves / 2;
    return found_.initializer_bytes > limits_.initializer_bytes_max ? too_large() : Result<void>();
  }

  Result<void> multiply(std::uint64_t& product, std::uint64_t dimension) {
    if (dimension > static_cast<std::uint64_t>(INT64_MAX)) return not_a_model("a weight has a negative dimension");
    if (__builtin_mul_overflow(product, dimension, &product)) return too_large();
    return {};
  }

  Result<void> too_large() {
    return fail(Code::kTooLarge, "runtimes.model_too_large",
                fmt::format("By their dimensions the weights take more than {} bytes.", limits_.initializer_bytes_max),
                "Export a smaller model, or raise runtimes.initializer_bytes_max.");
  }

  static Result<void> external(const std::string& name) {
    return fail(Code::kInvalidArgument, "runtimes.external_data",
                fmt::format("Weight '{}' is kept in another file.", name),
                "Save the model as one file (onnx.save_model with save_as_external_data=False).");
  }

  Result<void> check_domains() {
    static const std::set<std::string, std::less<>> kOurs = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"};
    for (const auto& [domain, op_type] : first_operators_) {
      if (kOurs.contains(domain) || own_domains_.contains(domain)) continue;
      return fail(Code::kInvalidArgument, "runtimes.custom_operator",
                  fmt::format("Operator '{}' is of the domain '{}', which the runtime does not have.",
                              op_type.substr(0, 128), domain.substr(0, 128)),
                  "Export with operators of ai.onnx and ai.onnx.ml; custom operators would load foreign code.");
    }
    return {};
  }

  const FileLimits limits_;
  Inspection found_;
  std::set<std::string, std::less<>> domains_;
  std::set<std::string, std::less<>> own_domains_;                    // of the functions that the model brings itself
  std::vector<std::pair<std::string, std::string>> first_operators_;  // domain and the first operator of it
};

}  // namespace

Result<Inspection> inspect_onnx_bytes(std::string_view bytes, const FileLimits& limits) {
  if (bytes.empty()) return not_a_model("it is empty");
  return Walker(limits).model(bytes);
}

Result<Inspection> inspect_onnx(const std::filesystem::path& file, const FileLimits& limits) {
  return inspect_onnx_bytes(TM_TRY(read_file(file, limits.file_bytes_max)), limits);
}

}  // namespace tidemill::runtimes
