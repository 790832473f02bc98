#include "base/text.h"

#include <cctype>

namespace tidemill {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "\xE2\x80\xA6";

// Returns the length of the UTF-8 sequence at the front, or 0 when there is none: overlong forms, surrogates and values
// past U+10FFFF are none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto continues = [&](std::size_t i) { return (byte(i) & 0xC0U) == 0x80U; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return continues(1) ? 2 : 0;
  if (first < 0xF0) {
    const bool bad = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F);
    return !bad && continues(1) && continues(2) ? 3 : 0;
  }
  if (first < 0xF5) {
    const bool bad = (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
    return !bad && continues(1) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string printable_utf8(std::string_view bytes, std::size_t bytes_max) {
  std::string out;
  std::size_t cut = 0;  // where the ellipsis would stand
  while (!bytes.empty()) {
    const std::size_t length = sequence_length(bytes);
    std::string_view piece = length == 0 ? kReplacement : bytes.substr(0, length);
    if (length == 1 && (static_cast<unsigned char>(bytes[0]) < 0x20 || bytes[0] == 0x7F)) piece = " ";
    if (out.size() + piece.size() > bytes_max) {
      if (kEllipsis.size() > bytes_max) return {};
      return out.substr(0, cut) + std::string(kEllipsis);
    }
    out += piece;
    if (out.size() + kEllipsis.size() <= bytes_max) cut = out.size();
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

std::string without_folders(std::string_view words) {
  const auto in_name = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || (c & 0x80) != 0 ||
           std::string_view("._-+~%@=").find(c) != std::string_view::npos;
  };
  std::string told;
  std::size_t i = 0;
  while (i < words.size()) {
    const char before = i == 0 ? ' ' : words[i - 1];
    if (words[i] != '/' || in_name(before) || before == '/' || before == ':') {
      told += words[i++];
      continue;
    }
    std::size_t end = i;
    while (end < words.size() && (words[end] == '/' || in_name(words[end]))) ++end;
    std::string_view path = words.substr(i, end - i);
    std::string_view tail;
    while (path.size() > 1 && (path.ends_with('.') || path.ends_with('/'))) {  // the sentence's own full stop
      tail = words.substr(i + path.size() - 1, tail.size() + 1);
      path.remove_suffix(1);
    }
    told.append(path.substr(path.rfind('/') + (path.size() > 1 ? 1 : 0))).append(tail);
    i = end;
  }
  return told;
}

}  // namespace tidemill
