// Writes JSON text directly, in MLflow's spelling: numbers that JSON lacks are the words "NaN", "Infinity",
// "-Infinity", as protobuf's JSON has them. Answers of thousands of small objects are made here, so no tree is built
// for them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tidemill::mlflow {

// One value being written. Callers pair what they begin and end.
class JsonText {
 public:
  JsonText& begin_object();
  JsonText& end_object();
  JsonText& begin_array();
  JsonText& end_array();
  JsonText& key(std::string_view name);
  JsonText& text(std::string_view value);
  JsonText& number(double value);
  JsonText& integer(std::int64_t value);
  JsonText& boolean(bool value);
  // Takes JSON text that is a value by itself.
  JsonText& raw(std::string_view json);

  // key and value in one.
  JsonText& text(std::string_view name, std::string_view value) { return key(name).text(value); }
  JsonText& integer(std::string_view name, std::int64_t value) { return key(name).integer(value); }
  JsonText& boolean(std::string_view name, bool value) { return key(name).boolean(value); }
  // Leaves an absent or empty value out, as protobuf does.
  JsonText& text_if(std::string_view name, std::string_view value) { return value.empty() ? *this : text(name, value); }
  JsonText& integer_if(std::string_view name, std::optional<std::int64_t> value) {
    return value ? integer(name, *value) : *this;
  }

  // Takes the finished text.
  [[nodiscard]] std::string take() { return std::move(out_); }

 private:
  void separate();

  std::string out_;
  bool comma_ = false;  // whether a value ended just before
};

}  // namespace tidemill::mlflow
