// ONNX files for tests, written byte by byte: enough of a protobuf writer to make good models and every kind of bad
// one.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace tidemill::runtimes::test {

inline std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  return out + static_cast<char>(value);
}
inline std::string number(std::uint32_t field, std::uint64_t value) { return varint(field << 3) + varint(value); }
inline std::string bytes(std::uint32_t field, std::string_view value) {
  return varint((field << 3) | 2) + varint(value.size()) + std::string(value);
}

constexpr std::uint64_t kFloat = 1;
constexpr std::uint64_t kInt64 = 7;
constexpr std::uint64_t kString = 8;
constexpr std::uint64_t kDouble = 11;

// A tensor's type; -1 is a free dimension.
inline std::string value_info(std::string_view name, std::uint64_t type, const std::vector<std::int64_t>& shape) {
  std::string dims;
  for (const std::int64_t length : shape) {
    dims += bytes(1, length < 0 ? bytes(2, "N") : number(1, static_cast<std::uint64_t>(length)));
  }
  return bytes(1, name) + bytes(2, bytes(1, number(1, type) + bytes(2, dims)));
}

inline std::string floats(std::string_view name, const std::vector<std::int64_t>& shape,
                          const std::vector<float>& values) {
  std::string out;
  for (const std::int64_t length : shape) out += number(1, static_cast<std::uint64_t>(length));
  std::string raw(values.size() * sizeof(float), '\0');
  if (!values.empty()) std::memcpy(raw.data(), values.data(), raw.size());
  return out + number(2, kFloat) + bytes(8, name) + bytes(9, raw);
}

inline std::string node(std::string_view op, const std::vector<std::string>& inputs,
                        const std::vector<std::string>& outputs, std::string_view attributes = {},
                        std::string_view domain = {}) {
  std::string out;
  for (const auto& name : inputs) out += bytes(1, name);
  for (const auto& name : outputs) out += bytes(2, name);
  out += bytes(4, op) + std::string(attributes);
  return domain.empty() ? out : out + bytes(7, domain);
}

struct Graph {
  std::vector<std::string> nodes;
  std::vector<std::string> initializers;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;

  [[nodiscard]] std::string text() const {
    std::string out = bytes(2, "g");
    for (const auto& n : nodes) out += bytes(1, n);
    for (const auto& t : initializers) out += bytes(5, t);
    for (const auto& v : inputs) out += bytes(11, v);
    for (const auto& v : outputs) out += bytes(12, v);
    return out;
  }
};

inline std::string model(const Graph& graph) {
  return number(1, 8) + bytes(2, "tidemill-test") + bytes(7, graph.text()) + bytes(8, bytes(1, "") + number(2, 15)) +
         bytes(8, bytes(1, "ai.onnx.ml") + number(2, 3));
}

// Logistic regression: probabilities [N, 2] = softmax of (0, x·w + b).
inline Graph logistic_graph(const std::vector<float>& weights, float bias) {
  const auto columns = static_cast<std::int64_t>(weights.size());
  std::vector<float> two_columns;
  for (const float w : weights) two_columns.insert(two_columns.end(), {0.0F, w});
  Graph graph;
  graph.inputs = {value_info("input", kFloat, {-1, columns})};
  graph.initializers = {floats("w", {columns, 2}, two_columns), floats("b", {2}, {0.0F, bias})};
  graph.nodes = {node("Gemm", {"input", "w", "b"}, {"logits"}), node("Softmax", {"logits"}, {"probabilities"})};
  graph.outputs = {value_info("probabilities", kFloat, {-1, 2})};
  return graph;
}
inline std::string logistic(const std::vector<float>& weights, float bias) {
  return model(logistic_graph(weights, bias));
}

inline std::filesystem::path write(const std::filesystem::path& file, std::string_view content) {
  std::ofstream(file, std::ios::binary) << content;
  return file;
}

}  // namespace tidemill::runtimes::test
