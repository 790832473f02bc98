#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <charconv>

namespace tidemill::json {
namespace {

constexpr std::size_t kShownBytesMax = 64;

std::string shown(const Value& value) {
  std::string text = boost::json::serialize(value);
  if (text.size() <= kShownBytesMax) return text;
  std::size_t cut = kShownBytesMax;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;  // never inside a UTF-8 sequence
  return text.substr(0, cut) + "…";
}

std::string where(std::string_view path) { return path.empty() ? "The body" : "Field '" + std::string(path) + "'"; }

// How text is written: for people and clients, or for hashing.
enum class Form { plain, canonical };

void write_double(double number, Form form, std::string& out) {
  std::array<char, 32> buffer{};
  const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), number);
  const std::string_view text(buffer.data(), static_cast<std::size_t>(end - buffer.data()));
  out += text;
  // Hashed text spells 1 and 1.0 alike, since a reader may take either for the other; plain text keeps the type apart.
  if (form == Form::plain && text.find_first_of(".en") == std::string_view::npos) out += ".0";
}

void write(const Value& value, Form form, std::string& out);

void write_object(const Object& object, Form form, std::string& out) {
  std::vector<const boost::json::key_value_pair*> entries;
  entries.reserve(object.size());
  for (const auto& entry : object) entries.push_back(&entry);
  if (form == Form::canonical) {
    std::ranges::sort(entries, {}, [](const auto* entry) { return std::string_view(entry->key()); });
  }
  out.push_back('{');
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (i > 0) out.push_back(',');
    out += boost::json::serialize(boost::json::string(entries[i]->key()));
    out.push_back(':');
    write(entries[i]->value(), form, out);
  }
  out.push_back('}');
}

void write(const Value& value, Form form, std::string& out) {
  switch (value.kind()) {
    case boost::json::kind::object:
      write_object(value.get_object(), form, out);
      return;
    case boost::json::kind::array: {
      out.push_back('[');
      bool first = true;
      for (const Value& item : value.get_array()) {
        if (!first) out.push_back(',');
        first = false;
        write(item, form, out);
      }
      out.push_back(']');
      return;
    }
    case boost::json::kind::double_:
      // JSON has no word for these; whoever must tell them apart writes them as text before they come here.
      if (!std::isfinite(value.get_double())) {
        out += "null";
      } else {
        write_double(value.get_double(), form, out);
      }
      return;
    default:
      out += boost::json::serialize(value);
  }
}

// Walks the tokens of valid JSON once. Tells whether an object names a key twice, which Boost.JSON lets pass (the last
// one wins) and which two readers of the same text would see differently; and reads fractions exactly, since
// Boost.JSON 1.81 gets the last bit of every sixth one wrong: a number must come back as it was sent.
struct Scanner {
  constexpr static std::size_t max_object_size = static_cast<std::size_t>(-1);
  constexpr static std::size_t max_array_size = static_cast<std::size_t>(-1);
  constexpr static std::size_t max_key_size = static_cast<std::size_t>(-1);
  constexpr static std::size_t max_string_size = static_cast<std::size_t>(-1);
  using Code = boost::system::error_code;

  std::vector<std::vector<std::string>> open;
  std::string key;
  bool found = false;
  std::vector<double> fractions;  // in the order of the text

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) {
    open.emplace_back();
    return true;
  }
  bool on_object_end(std::size_t, Code&) {
    auto& keys = open.back();
    std::ranges::sort(keys);
    found = found || std::ranges::adjacent_find(keys) != keys.end();
    open.pop_back();
    return true;
  }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_key_part(boost::json::string_view part, std::size_t, Code&) {
    key.append(part.data(), part.size());
    return true;
  }
  bool on_key(boost::json::string_view part, std::size_t, Code&) {
    key.append(part.data(), part.size());
    open.back().push_back(std::move(key));
    key.clear();
    return true;
  }
  bool on_string_part(boost::json::string_view, std::size_t, Code&) { return true; }
  bool on_string(boost::json::string_view, std::size_t, Code&) { return true; }
  bool on_number_part(boost::json::string_view, Code&) { return true; }
  bool on_int64(std::int64_t, boost::json::string_view, Code&) { return true; }
  bool on_uint64(std::uint64_t, boost::json::string_view, Code&) { return true; }
  bool on_double(double rough, boost::json::string_view digits, Code&) {
    double exact = rough;  // stays so where the number is out of a double's range
    std::from_chars(digits.data(), digits.data() + digits.size(), exact);
    fractions.push_back(exact);
    return true;
  }
  bool on_bool(bool, Code&) { return true; }
  bool on_null(Code&) { return true; }
  bool on_comment_part(boost::json::string_view, Code&) { return true; }
  bool on_comment(boost::json::string_view, Code&) { return true; }
};

Scanner scan(std::string_view text, const boost::json::parse_options& options) {
  boost::json::basic_parser<Scanner> parser(options);
  boost::system::error_code error;
  parser.write_some(false, text.data(), text.size(), error);
  return std::move(parser.handler());
}

// Puts the exact fractions, in the order of the text, in the place of the rough ones.
void replace_fractions(Value& value, std::vector<double>::const_iterator& next) {
  if (double* fraction = value.if_double()) {
    *fraction = *next++;
  } else if (Array* array = value.if_array()) {
    for (Value& item : *array) replace_fractions(item, next);
  } else if (Object* object = value.if_object()) {
    for (auto& entry : *object) replace_fractions(entry.value(), next);
  }
}

}  // namespace

Result<Value> parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.bytes_max) {
    return fail(Code::kTooLarge, "json.too_large",
                fmt::format("The JSON text has {} bytes; the limit is {}.", text.size(), limits.bytes_max),
                "Send it in smaller parts.");
  }
  boost::json::parse_options options;
  options.max_depth = limits.depth_max;
  boost::system::error_code error;
  Value value = boost::json::parse(boost::json::string_view(text.data(), text.size()), error, {}, options);
  if (error) {
    return fail(Code::kInvalidArgument, "json.malformed", "The body is not valid JSON: " + error.message() + ".",
                "Send one JSON value in UTF-8.", {{"cause", error.message()}});
  }
  const Scanner scanned = scan(text, options);
  if (scanned.found) {
    return fail(Code::kInvalidArgument, "json.duplicate_key", "The JSON text names the same key twice in one object.",
                "Keep one of the two.");
  }
  auto next = scanned.fractions.begin();
  if (!scanned.fractions.empty()) replace_fractions(value, next);
  return value;
}

std::string serialize(const Value& value) {
  std::string out;
  write(value, Form::plain, out);
  return out;
}

std::string canonical(const Value& value) {
  std::string out;
  write(value, Form::canonical, out);
  return out;
}

namespace detail {

std::unexpected<Error> wrong(std::string_view path, std::string_view expected, const Value& got) {
  return fail(Code::kInvalidArgument, "json.wrong_type",
              fmt::format("{} must be {}, not {}.", where(path), expected, shown(got)), "Correct that value.",
              {{"field", std::string(path)}, {"expected", std::string(expected)}, {"value", shown(got)}});
}

std::unexpected<Error> missing(std::string_view path, std::string_view field) {
  return fail(Code::kInvalidArgument, "json.missing_field", fmt::format("Field '{}' is missing.", joined(path, field)),
              "Add it.", {{"field", joined(path, field)}});
}

std::unexpected<Error> unknown(std::string_view path, std::string_view field, std::string_view known) {
  return fail(Code::kInvalidArgument, "json.unknown_field",
              fmt::format("Field '{}' is not known here.", joined(path, field.substr(0, kShownBytesMax))),
              fmt::format("Known fields: {}.", known), {{"field", joined(path, field.substr(0, kShownBytesMax))}});
}

Result<std::int64_t> to_int64(const Value& value, std::string_view path, std::int64_t low, std::int64_t high) {
  std::int64_t number = 0;
  if (const auto* whole = value.if_int64()) {
    number = *whole;
  } else {
    return wrong(path, "a whole number", value);
  }
  if (number < low || number > high) return wrong(path, fmt::format("a whole number from {} to {}", low, high), value);
  return number;
}

Result<std::uint64_t> to_uint64(const Value& value, std::string_view path) {
  if (const auto* whole = value.if_uint64()) return *whole;
  if (const auto* whole = value.if_int64(); whole != nullptr && *whole >= 0) return static_cast<std::uint64_t>(*whole);
  return wrong(path, "a whole number from 0", value);
}

Result<double> to_double(const Value& value, std::string_view path) {
  if (const auto* number = value.if_double(); number != nullptr && std::isfinite(*number)) return *number;
  if (const auto* whole = value.if_int64()) return static_cast<double>(*whole);
  if (const auto* whole = value.if_uint64()) return static_cast<double>(*whole);
  return wrong(path, "a finite number", value);
}

std::string joined(std::string_view path, std::string_view field) {
  return path.empty() ? std::string(field) : fmt::format("{}.{}", path, field);
}

std::string indexed(std::string_view path, std::size_t index) { return fmt::format("{}[{}]", path, index); }

std::string schema_name(std::string_view pretty_function) {
  // "… [with T = tidemill::runs::NewRun; …]" (g++) or "… [T = tidemill::runs::NewRun]" (clang)
  std::size_t begin = pretty_function.find("T = ");
  begin = begin == std::string_view::npos ? 0 : begin + 4;
  std::string_view name = pretty_function.substr(begin, pretty_function.find_first_of(";]", begin) - begin);
  constexpr std::string_view kOurs = "tidemill::";
  if (name.starts_with(kOurs)) name.remove_prefix(kOurs.size());
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i).starts_with("::")) {
      out.push_back('.');
      ++i;
    } else {
      const char c = name[i];
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
      out.push_back(plain ? c : '_');
    }
  }
  return out;
}

}  // namespace detail

}  // namespace tidemill::json
