#include "cli/mlflow_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>

#include "base/hash.h"

namespace tidemill::cli::mlflow {
namespace {

constexpr std::size_t kPieceBytes = 1u << 20;

std::uint64_t bits_of(double value) { return std::bit_cast<std::uint64_t>(value); }

// Numbers in their order, then NaN; −0 before +0.
bool value_less(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  if (a == b) return std::signbit(a) && !std::signbit(b);
  return a < b;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    if (i + 2 >= text.size()) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16);
    if (error != std::errc{} || end != text.data() + i + 3) return std::nullopt;
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

}  // namespace

bool operator<(const Point& a, const Point& b) {
  if (a.step != b.step) return a.step < b.step;
  if (a.at_ms != b.at_ms) return a.at_ms < b.at_ms;
  return value_less(a.value, b.value);
}

bool operator==(const Point& a, const Point& b) {
  return a.step == b.step && a.at_ms == b.at_ms &&
         (bits_of(a.value) == bits_of(b.value) || (std::isnan(a.value) && std::isnan(b.value)));
}

void settle(std::vector<Point>& curve) {
  std::ranges::sort(curve, [](const Point& a, const Point& b) { return a < b; });
  curve.erase(std::unique(curve.begin(), curve.end(), [](const Point& a, const Point& b) { return a == b; }),
              curve.end());
}

std::optional<std::filesystem::path> local_folder(std::string_view uri) {
  if (uri.starts_with("file:")) {
    uri.remove_prefix(5);
    if (uri.starts_with("//")) {
      uri.remove_prefix(2);
      const std::size_t slash = uri.find('/');
      const std::string_view host = uri.substr(0, slash);
      if (slash == std::string_view::npos || (!host.empty() && host != "localhost")) return std::nullopt;
      uri.remove_prefix(slash);
    }
    auto decoded = percent_decoded(uri);
    if (!decoded) return std::nullopt;
    return std::filesystem::path(*decoded);
  }
  const std::size_t colon = uri.find(':');
  if (uri.empty() || (colon != std::string_view::npos && uri.find('/') > colon)) return std::nullopt;
  return std::filesystem::path(uri);
}

Result<std::vector<File>> local_files(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<File> files;
  std::error_code error;
  if (!fs::exists(folder, error)) return files;
  fs::recursive_directory_iterator at(folder, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    const auto status = at->symlink_status(error);
    if (error || fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status)) {
      return fail(Code::kInvalidArgument, "import.not_a_file",
                  fmt::format("'{}' is a link or a special file.", at->path().string()),
                  "Put a copy of the file in its place.");
    }
    files.push_back({at->path().lexically_relative(folder).generic_string(), at->file_size(error), ""});
  }
  if (error) {
    return fail(Code::kInternal, "import.unreadable",
                fmt::format("'{}' cannot be listed: {}.", folder.string(), error.message()), "See to its rights.");
  }
  std::ranges::sort(files, {}, &File::path);
  return files;
}

Result<std::string> file_sha256(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  Sha256 hash;
  std::string piece(kPieceBytes, '\0');
  while (stream) {
    stream.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.update(std::string_view(piece.data(), static_cast<std::size_t>(stream.gcount())));
  }
  if (stream.eof()) return to_hex(hash.finish());
  return fail(Code::kInternal, "import.unreadable", fmt::format("'{}' cannot be read.", file.string()),
              "See to its rights.");
}

std::unexpected<Error> unreachable(std::string_view uri) {
  return fail(Code::kUnimplemented, "import.unreachable", fmt::format("Files at '{}' cannot be read from here.", uri),
              "Import where they can be read, or copy them by hand.");
}

std::int64_t number_of_version(const Version& version) {
  std::int64_t number = 0;
  const char* end = version.number.data() + version.number.size();
  return std::from_chars(version.number.data(), end, number).ec == std::errc{} ? number : 0;
}

std::string text_of(const json::Object& object, std::string_view key) {
  const json::Value* value = object.if_contains(key);
  if (value == nullptr || value->is_null()) return {};
  if (value->is_string()) return std::string(value->get_string());
  return json::serialize(*value);
}

std::optional<std::int64_t> integer_of(const json::Object& object, std::string_view key) {
  const std::string text = text_of(object, key);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{}) return std::nullopt;
  return value;
}

Result<double> number_of(std::string_view text) {
  std::string word(text);
  std::ranges::transform(word, word.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (word == "nan") return std::numeric_limits<double>::quiet_NaN();
  if (word == "inf" || word == "infinity") return std::numeric_limits<double>::infinity();
  if (word == "-inf" || word == "-infinity") return -std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (!text.empty() && error == std::errc{} && end == text.data() + text.size()) return value;
  return fail(Code::kInvalidArgument, "import.not_a_number", fmt::format("'{}' is no number.", text.substr(0, 64)),
              "Correct it at its source.");
}

const json::Object& object_of(const json::Object& object, std::string_view key) {
  static const json::Object kNone;
  const json::Value* value = object.if_contains(key);
  return value != nullptr && value->is_object() ? value->get_object() : kNone;
}

const json::Array& array_of(const json::Object& object, std::string_view key) {
  static const json::Array kNone;
  const json::Value* value = object.if_contains(key);
  return value != nullptr && value->is_array() ? value->get_array() : kNone;
}

}  // namespace tidemill::cli::mlflow
