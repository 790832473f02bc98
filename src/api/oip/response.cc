#include "api/oip/response.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/enums.h"
#include "base/json.h"
#include "runtimes/types.h"

namespace tidemill::oip {
namespace {

void append_text(std::string& out, std::string_view text) {
  out += json::serialize(json::Value(boost::json::string(text)));
}

template <class T>
void append_list(std::string& out, const std::vector<T>& values) {
  out += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i > 0) out += ',';
    if constexpr (std::is_same_v<T, std::string>) {
      append_text(out, values[i]);
    } else {
      fmt::format_to(std::back_inserter(out), "{}", values[i]);
    }
  }
  out += ']';
}

// An output of either kind of answer.
struct Output {
  std::string_view name;
  runtimes::DataType data_type = runtimes::DataType::FP64;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;
  std::span<const std::string> strings;
};

template <class T>
Output output_of(std::string_view name, runtimes::DataType type, const std::vector<T>& values) {
  return {name, type, {static_cast<std::int64_t>(values.size())}, std::as_bytes(std::span(values)), {}};
}

Output find_output(const predictions::Answer& answer, std::string_view name) {
  for (const auto& tensor : answer.outputs) {
    if (tensor.name == name) return {tensor.name, tensor.data_type, tensor.shape, tensor.bytes, tensor.strings};
  }
  if (name == kProbability) return output_of(name, runtimes::DataType::FP64, answer.probabilities);
  return output_of(name, runtimes::DataType::INT64, answer.labels);
}

template <class T>
void append_values(std::string& out, std::span<const std::byte> bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    T value{};
    std::memcpy(&value, bytes.data() + at, sizeof value);
    if (at > 0) out += ',';
    if constexpr (std::is_floating_point_v<T>) {
      if (!std::isfinite(value)) {
        out += "null";  // JSON has no other word for it
        continue;
      }
    }
    fmt::format_to(std::back_inserter(out), "{}", value);  // shortest form that reads back equal
  }
}

void append_data(std::string& out, const Output& output) {
  using runtimes::DataType;
  switch (output.data_type) {
    case DataType::BOOL:
      for (std::size_t i = 0; i < output.bytes.size(); ++i) {
        out += i > 0 ? "," : "";
        out += output.bytes[i] != std::byte{0} ? "true" : "false";
      }
      break;
    case DataType::UINT8:
      append_values<std::uint8_t>(out, output.bytes);
      break;
    case DataType::UINT16:
      append_values<std::uint16_t>(out, output.bytes);
      break;
    case DataType::UINT32:
      append_values<std::uint32_t>(out, output.bytes);
      break;
    case DataType::UINT64:
      append_values<std::uint64_t>(out, output.bytes);
      break;
    case DataType::INT8:
      append_values<std::int8_t>(out, output.bytes);
      break;
    case DataType::INT16:
      append_values<std::int16_t>(out, output.bytes);
      break;
    case DataType::INT32:
      append_values<std::int32_t>(out, output.bytes);
      break;
    case DataType::INT64:
      append_values<std::int64_t>(out, output.bytes);
      break;
    case DataType::FP32:
      append_values<float>(out, output.bytes);
      break;
    case DataType::FP64:
      append_values<double>(out, output.bytes);
      break;
    case DataType::BYTES:
      for (std::size_t i = 0; i < output.strings.size(); ++i) {
        if (i > 0) out += ',';
        append_text(out, output.strings[i]);
      }
      break;
  }
}

// Returns how many bytes were appended: texts each behind their u32 length, everything else as it lies in memory.
std::size_t append_binary(std::string& tail, const Output& output) {
  const std::size_t before = tail.size();
  tail.append(reinterpret_cast<const char*>(output.bytes.data()), output.bytes.size());
  for (const auto& text : output.strings) {
    const auto length = static_cast<std::uint32_t>(text.size());
    tail.append(reinterpret_cast<const char*>(&length), sizeof length);
    tail.append(text);
  }
  return tail.size() - before;
}

void append_output(std::string& out, std::string& tail, const Output& output, bool binary) {
  out += "{\"name\":";
  append_text(out, output.name);
  fmt::format_to(std::back_inserter(out), R"(,"datatype":"{}","shape":)", enum_name(output.data_type));
  append_list(out, output.shape);
  if (binary) {
    fmt::format_to(std::back_inserter(out), R"(,"parameters":{{"binary_data_size":{}}}}})",
                   append_binary(tail, output));
    return;
  }
  out += ",\"data\":[";
  append_data(out, output);
  out += "]}";
}

// The version that answered all rows, else the first row's; then `row_versions` tells the rest.
void append_head(std::string& out, std::string_view deployment, const InferRequest& request,
                 const predictions::Answer& answer) {
  const bool split = answer.version() == 0 && answer.versions.size() > 1;
  fmt::format_to(std::back_inserter(out), R"({{"model_name":"{}","model_version":"{}")", deployment,
                 answer.versions.empty() ? 0 : answer.versions.front());
  if (!request.id.empty()) {
    out += ",\"id\":";
    append_text(out, request.id);
  }
  if (!split && request.ids_given) return;
  out += ",\"parameters\":{";
  if (split) {
    out += "\"row_versions\":";
    append_list(out, answer.versions);
  }
  if (!request.ids_given) {
    out += split ? ",\"prediction_ids\":" : "\"prediction_ids\":";
    append_list(out, answer.ids);
  }
  out += '}';
}

}  // namespace

http::Response response_of(std::string_view deployment, const InferRequest& request,
                           const predictions::Answer& answer) {
  http::Response response;
  std::string& out = response.body;
  out.reserve(256 + 48 * answer.probabilities.size());
  std::string tail;
  append_head(out, deployment, request, answer);
  out += ",\"outputs\":[";
  bool first = true;
  bool binary = false;
  for (const auto& wanted : request.outputs) {
    if (!std::exchange(first, false)) out += ',';
    append_output(out, tail, find_output(answer, wanted.name), wanted.binary);
    binary = binary || wanted.binary;
  }
  out += "]}";
  if (binary) {
    response.headers.emplace_back("Inference-Header-Content-Length", std::to_string(out.size()));
    response.content_type = "application/octet-stream";
    out += tail;
  }
  return response;
}

http::Response error_response(const Error& error) {
  http::Response response = http::Response::error(error);
  const Error told = http::for_caller(error);
  response.body =
      json::serialize(json::Object{{"error", told.text()}, {"reason", told.reason}, {"remedy", told.remedy}});
  return response;
}

}  // namespace tidemill::oip
