#include "flow/models/checks.h"

#include <fmt/format.h>

#include <algorithm>

#include "flow/models/models.h"

namespace tidemill::models {
namespace {

constexpr std::size_t kAliasBytesMax = 255;
constexpr std::size_t kReasonBytesMax = 4096;

std::unexpected<Error> bad_name(std::string_view name, std::string_view why) {
  return fail(Code::kInvalidArgument, "models.name_invalid",
              fmt::format("'{}' cannot name a model: {}.", name.substr(0, 128), why),
              fmt::format("Use 1 to {} bytes without '/', ':' and control characters.", kNameBytesMax));
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Result<void> check_model_name(std::string_view name) {
  if (name.empty()) return bad_name(name, "it is empty");
  if (name.size() > kNameBytesMax) return bad_name(name, fmt::format("it has {} bytes", name.size()));
  if (name == "." || name == "..") return bad_name(name, "it means a folder");
  for (const char c : name) {
    if (c == '/' || c == ':' || static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      return bad_name(name, "it holds a forbidden character");
  }
  return {};
}

Result<void> check_alias(std::string_view alias) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  const bool like_a_number =
      is_digits(alias) || ((alias.starts_with('v') || alias.starts_with('V')) && is_digits(alias.substr(1)));
  if (!alias.empty() && alias.size() <= kAliasBytesMax && std::all_of(alias.begin(), alias.end(), allowed) &&
      !like_a_number && alias != "latest") {
    return {};
  }
  return fail(Code::kInvalidArgument, "models.alias_invalid",
              fmt::format("'{}' cannot be an alias.", alias.substr(0, 128)),
              "Use letters, digits, '.', '_' and '-'; not 'latest', and nothing that looks like a version number.");
}

Result<void> check_tag(std::string_view key, std::optional<std::string_view> value) {
  if (key.empty() || key.size() > kTagKeyBytesMax) {
    return fail(Code::kInvalidArgument, "models.tag_invalid", fmt::format("A tag's key has {} bytes.", key.size()),
                fmt::format("Use 1 to {} bytes.", kTagKeyBytesMax));
  }
  if (value && value->size() > kTagValueBytesMax) {
    return fail(Code::kTooLarge, "models.tag_too_long",
                fmt::format("Tag '{}' has a value of {} bytes.", key, value->size()),
                fmt::format("Keep it below {} bytes; store long texts as files.", kTagValueBytesMax));
  }
  return {};
}

Result<void> check_tags(const Tags& tags) {
  for (const auto& [key, value] : tags) TM_CHECK(check_tag(key, value));
  return {};
}

Result<void> check_description(std::string_view description) {
  if (description.size() <= kDescriptionBytesMax) return {};
  return fail(Code::kTooLarge, "models.description_too_long",
              fmt::format("The description has {} bytes.", description.size()),
              fmt::format("Keep it below {} bytes.", kDescriptionBytesMax));
}

Result<void> check_reason(std::string_view reason) {
  if (!reason.empty() && reason.size() <= kReasonBytesMax) return {};
  return fail(Code::kInvalidArgument, "models.no_reason", fmt::format("The reason has {} bytes.", reason.size()),
              fmt::format("Say why, in 1 to {} bytes.", kReasonBytesMax));
}

std::unexpected<Error> unknown_model(std::string_view name) {
  return fail(Code::kNotFound, "models.unknown", fmt::format("There is no model '{}'.", name.substr(0, 128)),
              "GET /api/models lists them.", {{"model", std::string(name.substr(0, 128))}});
}

std::unexpected<Error> unknown_version(std::string_view model, std::int64_t number) {
  return fail(Code::kNotFound, "models.unknown_version",
              fmt::format("Model '{}' has no version {}.", model.substr(0, 128), number),
              "GET /api/models/{model}/versions lists them.",
              {{"model", std::string(model.substr(0, 128))}, {"version", std::to_string(number)}});
}

std::string subject_of(std::string_view model) { return fmt::format("models/{}", model); }
std::string subject_of(std::string_view model, std::int64_t number) {
  return fmt::format("models/{}/{}", model, number);
}

}  // namespace tidemill::models
