#include "api/oip/request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <utility>

#include "api/oip/tensors.h"

namespace tidemill::oip {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

std::unexpected<Error> bad(std::string_view reason, std::string message, std::string remedy) {
  return fail(Code::kInvalidArgument, "oip." + std::string(reason), std::move(message), std::move(remedy));
}

std::unexpected<Error> bad_type(std::string_view field, std::string_view wanted) {
  return bad("wrong_type", fmt::format("'{}' must be {}.", field, wanted), "See docs/reference/predictions.md.");
}

// Both by value: what they return must outlive the result that it was taken from. The type has been checked.
simdjson::dom::object fields_of(const element& value) { return value.get_object().value_unsafe(); }
simdjson::dom::array items_of(const element& value) { return value.get_array().value_unsafe(); }

Result<std::string> text_of(const element& value, std::string_view field) {
  if (value.type() != element_type::STRING) return bad_type(field, "text");
  return std::string(value.get_string().value_unsafe());
}

Result<std::int64_t> integer_of(const element& value, std::string_view field) {
  if (value.type() != element_type::INT64) return bad_type(field, "a whole number");
  return value.get_int64().value_unsafe();
}

Result<bool> flag_of(const element& value, std::string_view field) {
  if (value.type() != element_type::BOOL) return bad_type(field, "true or false");
  return value.get_bool().value_unsafe();
}

// Parameters of other servers that clients send along; they mean nothing here.
constexpr std::array<std::string_view, 7> kIgnoredParameters{
    "sequence_id", "sequence_start", "sequence_end", "priority", "content_type", "headers", "classification"};

// Reads the request piece by piece; one object a request.
class Reader {
 public:
  Reader(const models::Scorer& scorer, std::string_view binary) : scorer_(scorer), binary_(binary) {}

  Result<InferRequest> read(const element& root);

 private:
  struct Input {
    InputHead head;
    std::optional<element> data;
    std::optional<std::int64_t> binary_bytes;
  };

  Result<void> read_parameters(const element& value);
  Result<void> read_prediction_ids(const element& value);
  Result<void> read_times(const element& value);
  Result<void> read_inputs(const element& value);
  Result<Input> read_input(const element& value, std::size_t index) const;
  Result<void> read_input_parameters(const element& value, Input& input) const;
  Result<std::string_view> take_binary(const Input& input);
  Result<void> add_column(const Input& input);
  Result<void> add_matrix(const Input& input);
  [[nodiscard]] bool is_matrix(const InputHead& head) const;
  [[nodiscard]] std::vector<std::string> known_outputs() const;
  Result<void> read_outputs(const element& value);
  Result<void> read_output(const element& value, std::size_t index);

  const models::Scorer& scorer_;
  std::string_view binary_;  // what is left of it
  InferRequest request_;
  bool binary_output_ = false;
};

Result<InferRequest> Reader::read(const element& root) {
  if (root.type() != element_type::OBJECT) return bad_type("request", "an object");
  std::optional<element> inputs;
  std::optional<element> outputs;
  for (const auto& field : fields_of(root)) {
    if (field.key == "inputs") {
      inputs = field.value;
    } else if (field.key == "outputs") {
      outputs = field.value;
    } else if (field.key == "id") {
      request_.id = TM_TRY(text_of(field.value, "id"));
    } else if (field.key == "parameters") {
      TM_CHECK(read_parameters(field.value));
    } else {
      return bad("unknown_field", fmt::format("A request has no field '{}'.", field.key.substr(0, 64)),
                 "It has id, parameters, inputs and outputs.");
    }
  }
  if (!inputs)
    return bad("no_inputs", "The request has no inputs.", "Give one input per column, or the model's matrix.");
  TM_CHECK(read_inputs(*inputs));
  if (outputs) TM_CHECK(read_outputs(*outputs));
  if (request_.outputs.empty()) {
    for (auto& name : known_outputs()) request_.outputs.push_back({std::move(name), binary_output_});
  }
  return std::move(request_);
}

Result<void> Reader::read_parameters(const element& value) {
  if (value.type() != element_type::OBJECT) return bad_type("parameters", "an object");
  for (const auto& field : fields_of(value)) {
    if (field.key == "prediction_ids") {
      TM_CHECK(read_prediction_ids(field.value));
    } else if (field.key == "at_ms") {
      TM_CHECK(read_times(field.value));
    } else if (field.key == "timeout") {
      request_.timeout_us = TM_TRY(integer_of(field.value, "parameters.timeout"));
      if (request_.timeout_us < 0)
        return bad("bad_timeout", "'parameters.timeout' is negative.", "Give microseconds; 0 means none.");
    } else if (field.key == "binary_data_output") {
      binary_output_ = TM_TRY(flag_of(field.value, "parameters.binary_data_output"));
    } else if (std::ranges::find(kIgnoredParameters, field.key) == kIgnoredParameters.end()) {
      return bad("unknown_parameter", fmt::format("There is no parameter '{}'.", field.key.substr(0, 64)),
                 "Known are prediction_ids, at_ms, timeout and binary_data_output.");
    }
  }
  return {};
}

Result<void> Reader::read_prediction_ids(const element& value) {
  if (value.type() != element_type::ARRAY) return bad_type("parameters.prediction_ids", "a list of texts");
  const auto list = items_of(value);
  request_.ask.ids.reserve(list.size());
  request_.ids_given = list.size() > 0;
  for (const element item : list) request_.ask.ids.push_back(TM_TRY(text_of(item, "parameters.prediction_ids")));
  return {};
}

Result<void> Reader::read_times(const element& value) {
  if (value.type() != element_type::ARRAY) {
    request_.ask.at_ms = {TM_TRY(integer_of(value, "parameters.at_ms"))};
    return {};
  }
  for (const element item : items_of(value)) {
    request_.ask.at_ms.push_back(TM_TRY(integer_of(item, "parameters.at_ms")));
  }
  return {};
}

Result<void> Reader::read_inputs(const element& value) {
  if (value.type() != element_type::ARRAY) return bad_type("inputs", "a list");
  const auto list = items_of(value);
  if (list.size() == 0)
    return bad("no_inputs", "The request has no inputs.", "Give one input per column, or the model's matrix.");
  if (list.size() > kInputsMax)
    return bad("many_inputs", fmt::format("{} inputs are more than {}.", list.size(), kInputsMax), "Send fewer.");
  std::size_t index = 0;
  for (const element item : list) {
    const Input input = TM_TRY(read_input(item, index));
    if (index > 0 && (request_.ask.tensor || is_matrix(input.head))) {
      return bad("mixed_inputs",
                 fmt::format("Input '{}' is a matrix; it must be the only input.",
                             (request_.ask.tensor ? request_.ask.tensor->name : input.head.name)),
                 "Send either the matrix or one input per column.");
    }
    TM_CHECK(is_matrix(input.head) ? add_matrix(input) : add_column(input));
    ++index;
  }
  if (binary_.empty()) return {};
  return bad("binary_left_over", fmt::format("{} bytes follow the inputs that nobody asked for.", binary_.size()),
             "Make the sum of binary_data_size equal to what follows the JSON.");
}

Result<Reader::Input> Reader::read_input(const element& value, std::size_t index) const {
  const std::string place = fmt::format("inputs[{}]", index);
  if (value.type() != element_type::OBJECT) return bad_type(place, "an object");
  Input input;
  bool has_type = false;
  std::optional<element> shape;
  for (const auto& field : fields_of(value)) {
    if (field.key == "name") {
      input.head.name = TM_TRY(text_of(field.value, place + ".name"));
    } else if (field.key == "datatype") {
      const std::string name = TM_TRY(text_of(field.value, place + ".datatype"));
      const auto type = parse_enum<runtimes::DataType>(name);
      if (!type) {
        return bad("unknown_datatype",
                   fmt::format("'{}' of {} is no datatype that is taken here.", name.substr(0, 32), place),
                   "Send FP32, FP64, BOOL, BYTES or one of the INT and UINT types.");
      }
      input.head.data_type = *type;
      has_type = true;
    } else if (field.key == "shape") {
      shape = field.value;
    } else if (field.key == "data") {
      if (field.value.type() != element_type::ARRAY) return bad_type(place + ".data", "a list");
      input.data = field.value;
    } else if (field.key == "parameters") {
      TM_CHECK(read_input_parameters(field.value, input));
    } else {
      return bad("unknown_field", fmt::format("{} has an unknown field '{}'.", place, field.key.substr(0, 64)),
                 "An input has name, shape, datatype, data and parameters.");
    }
  }
  if (input.head.name.empty() || !has_type || !shape) {
    return bad("incomplete_input", fmt::format("{} lacks its name, datatype or shape.", place), "Give all three.");
  }
  if (shape->type() != element_type::ARRAY) return bad_type(place + ".shape", "a list of whole numbers");
  for (const element length : items_of(*shape)) {
    input.head.shape.push_back(TM_TRY(integer_of(length, place + ".shape")));
  }
  input.head.count = TM_TRY(element_count(input.head.name, input.head.shape));
  if (input.data.has_value() == input.binary_bytes.has_value()) {
    return bad("no_data", fmt::format("Input '{}' must have either data or binary_data_size.", input.head.name),
               "Give exactly one of them.");
  }
  return input;
}

Result<void> Reader::read_input_parameters(const element& value, Input& input) const {
  if (value.type() != element_type::OBJECT) return bad_type("inputs.parameters", "an object");
  for (const auto& field : fields_of(value)) {
    if (field.key == "binary_data_size") {
      input.binary_bytes = TM_TRY(integer_of(field.value, "binary_data_size"));
    } else if (std::ranges::find(kIgnoredParameters, field.key) == kIgnoredParameters.end()) {
      return bad("unknown_parameter", fmt::format("An input has no parameter '{}'.", field.key.substr(0, 64)),
                 "Known is binary_data_size.");
    }
  }
  return {};
}

Result<std::string_view> Reader::take_binary(const Input& input) {
  const std::int64_t bytes = *input.binary_bytes;
  if (bytes < 0 || static_cast<std::uint64_t>(bytes) > binary_.size()) {
    return bad(
        "wrong_binary_size",
        fmt::format("Input '{}' says binary_data_size {}, but {} bytes are there.", input.head.name, bytes,
                    binary_.size()),
        "Send the tensors' bytes after the JSON, in the order of the inputs, with Inference-Header-Content-Length.");
  }
  const std::string_view taken = binary_.substr(0, static_cast<std::size_t>(bytes));
  binary_.remove_prefix(taken.size());
  return taken;
}

// The model's own matrix: named as in the model or of two or more columns. Everything else is one column.
bool Reader::is_matrix(const InputHead& head) const {
  if (head.shape.size() == 2 && head.shape[1] != 1) return true;
  const auto& inputs = scorer_.session->inputs();
  return head.shape.size() == 2 && !inputs.empty() && head.name == inputs.front().name &&
         !scorer_.encoder.find(head.name);
}

Result<void> Reader::add_matrix(const Input& input) {
  const auto& inputs = scorer_.session->inputs();
  if (!inputs.empty() && input.head.name != inputs.front().name) {
    return bad("unknown_input", fmt::format("The model has no matrix '{}'.", input.head.name.substr(0, 128)),
               fmt::format("Its matrix is '{}', of shape [rows, {}].", inputs.front().name, scorer_.encoder.width()));
  }
  request_.ask.tensor = input.data ? TM_TRY(json_matrix(input.head, *input.data))
                                   : TM_TRY(binary_matrix(input.head, TM_TRY(take_binary(input))));
  return {};
}

Result<void> Reader::add_column(const Input& input) {
  const bool is_column = input.head.shape.size() == 1 || (input.head.shape.size() == 2 && input.head.shape[1] == 1);
  if (!is_column) {
    return bad("wrong_shape", fmt::format("Input '{}' has {} dimensions.", input.head.name, input.head.shape.size()),
               "Send a column of shape [rows] or [rows, 1], or the matrix of shape [rows, columns].");
  }
  auto& rows = request_.ask.rows;
  if (rows.find(input.head.name) != nullptr)
    return bad("input_twice", fmt::format("Input '{}' is given twice.", input.head.name), "Give it once.");
  if (!rows.columns.empty() && input.head.count != rows.rows) {
    return bad("wrong_shape",
               fmt::format("Input '{}' has {} rows, but '{}' has {}.", input.head.name, input.head.count,
                           rows.columns.front().name, rows.rows),
               "Give every column the same number of rows.");
  }
  rows.rows = input.head.count;
  rows.columns.push_back(input.data ? TM_TRY(json_column(input.head, *input.data))
                                    : TM_TRY(binary_column(input.head, TM_TRY(take_binary(input)))));
  return {};
}

// What a request of this form is answered with.
std::vector<std::string> Reader::known_outputs() const {
  if (!request_.ask.tensor) return {std::string(kProbability), std::string(kLabel)};
  std::vector<std::string> names;
  for (const auto& output : scorer_.session->outputs()) names.push_back(output.name);
  return names;
}

Result<void> Reader::read_outputs(const element& value) {
  if (value.type() != element_type::ARRAY) return bad_type("outputs", "a list");
  std::size_t index = 0;
  for (const element item : items_of(value)) TM_CHECK(read_output(item, index++));
  return {};
}

Result<void> Reader::read_output(const element& value, std::size_t index) {
  const std::string place = fmt::format("outputs[{}]", index);
  if (value.type() != element_type::OBJECT) return bad_type(place, "an object");
  WantedOutput wanted{"", binary_output_};
  for (const auto& field : fields_of(value)) {
    if (field.key == "name") {
      wanted.name = TM_TRY(text_of(field.value, place + ".name"));
    } else if (field.key == "parameters" && field.value.type() == element_type::OBJECT) {
      for (const auto& parameter : fields_of(field.value)) {
        if (parameter.key == "binary_data")
          wanted.binary = TM_TRY(flag_of(parameter.value, place + ".parameters.binary_data"));
      }
    } else {
      return bad("unknown_field", fmt::format("{} has an unknown field '{}'.", place, field.key.substr(0, 64)),
                 "An output has name and parameters.");
    }
  }
  const auto known = known_outputs();
  if (std::ranges::find(known, wanted.name) == known.end()) {
    return bad("unknown_output", fmt::format("There is no output '{}'.", wanted.name.substr(0, 64)),
               fmt::format("Ask for {}, or leave outputs out.", fmt::join(known, " or ")));
  }
  if (std::ranges::any_of(request_.outputs, [&](const WantedOutput& other) { return other.name == wanted.name; })) {
    return bad("output_twice", fmt::format("The output '{}' is asked for twice.", wanted.name), "Ask once.");
  }
  request_.outputs.push_back(std::move(wanted));
  return {};
}

std::unexpected<Error> bad_json(simdjson::error_code code) {
  if (code == simdjson::CAPACITY || code == simdjson::MEMALLOC) {
    return fail(Code::kTooLarge, "oip.too_large", "The request is too large.", "Send fewer rows at once.");
  }
  return bad("malformed", fmt::format("The request is not JSON: {}", simdjson::error_message(code)),
             "Send one JSON object; write missing values as null, not NaN.");
}

}  // namespace

Result<std::uint64_t> element_count(std::string_view input, const std::vector<std::int64_t>& shape) {
  if (shape.empty() || shape.size() > kRankMax) {
    return bad("wrong_shape", fmt::format("Input '{}' has {} dimensions.", input.substr(0, 128), shape.size()),
               fmt::format("Give 1 to {}.", kRankMax));
  }
  std::int64_t product = 1;
  for (const std::int64_t length : shape) {
    if (length < 0 || __builtin_mul_overflow(product, length, &product)) {
      return bad("wrong_shape", fmt::format("The shape of input '{}' is negative or too large.", input.substr(0, 128)),
                 "Give lengths from 0 whose product is below 2^63.");
    }
  }
  return static_cast<std::uint64_t>(product);
}

Result<InferRequest> parse_request(const std::string& body, std::optional<std::uint64_t> json_bytes,
                                   const models::Scorer& scorer) {
  if (json_bytes && *json_bytes > body.size()) {
    return bad(
        "wrong_header_length",
        fmt::format("Inference-Header-Content-Length is {}, but the body has {} bytes.", *json_bytes, body.size()),
        "Send the length of the JSON part.");
  }
  thread_local simdjson::dom::parser parser;  // keeps its buffers from request to request
  element root;
  const std::size_t length = json_bytes.value_or(body.size());
  const bool padded = body.capacity() - length >= simdjson::SIMDJSON_PADDING;
  if (const auto error = parser.parse(body.data(), length, !padded).get(root)) return bad_json(error);
  return Reader(scorer, std::string_view(body).substr(length)).read(root);
}

}  // namespace tidemill::oip
