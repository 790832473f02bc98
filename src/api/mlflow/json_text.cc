#include "api/mlflow/json_text.h"

#include <array>
#include <charconv>
#include <cmath>

namespace tidemill::mlflow {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

void append_escaped(std::string& out, std::string_view text) {
  std::size_t plain = 0;  // where the run of characters that need no escape began
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += kHexDigits[static_cast<unsigned char>(c) >> 4];
        out += kHexDigits[static_cast<unsigned char>(c) & 0xF];
    }
  }
  out.append(text, plain, text.size() - plain);
}

}  // namespace

void JsonText::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

JsonText& JsonText::begin_object() {
  separate();
  out_ += '{';
  comma_ = false;
  return *this;
}

JsonText& JsonText::end_object() {
  out_ += '}';
  comma_ = true;
  return *this;
}

JsonText& JsonText::begin_array() {
  separate();
  out_ += '[';
  comma_ = false;
  return *this;
}

JsonText& JsonText::end_array() {
  out_ += ']';
  comma_ = true;
  return *this;
}

JsonText& JsonText::key(std::string_view name) {
  text(name);
  out_ += ':';
  comma_ = false;
  return *this;
}

JsonText& JsonText::text(std::string_view value) {
  separate();
  out_ += '"';
  append_escaped(out_, value);
  out_ += '"';
  return *this;
}

JsonText& JsonText::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

JsonText& JsonText::number(double value) {
  if (std::isnan(value)) return text("NaN");
  if (std::isinf(value)) return text(value > 0 ? "Infinity" : "-Infinity");
  separate();
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  const std::string_view digits(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  out_ += digits;
  if (digits.find_first_of(".e") == std::string_view::npos) out_ += ".0";  // tells typed readers that it is no integer
  return *this;
}

JsonText& JsonText::integer(std::int64_t value) {
  separate();
  out_ += std::to_string(value);
  return *this;
}

JsonText& JsonText::boolean(bool value) {
  separate();
  out_ += value ? "true" : "false";
  return *this;
}

}  // namespace tidemill::mlflow
