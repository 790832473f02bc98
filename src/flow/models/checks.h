// What may stand in names, tags and texts of this room; private to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "flow/models/types.h"

namespace tidemill::models {

[[nodiscard]] Result<void> check_model_name(std::string_view name);
// Aliases are 1 to 255 of A–Z a–z 0–9 . _ -, do not look like a number or "v1", and are not "latest", which clients
// read as the newest version.
[[nodiscard]] Result<void> check_alias(std::string_view alias);
[[nodiscard]] Result<void> check_tag(std::string_view key, std::optional<std::string_view> value);
[[nodiscard]] Result<void> check_tags(const Tags& tags);
[[nodiscard]] Result<void> check_description(std::string_view description);
[[nodiscard]] Result<void> check_reason(std::string_view reason);

[[nodiscard]] std::unexpected<Error> unknown_model(std::string_view name);
[[nodiscard]] std::unexpected<Error> unknown_version(std::string_view model, std::int64_t number);

// "models/<name>" and "models/<name>/<number>": the subjects of events and approvals.
[[nodiscard]] std::string subject_of(std::string_view model);
[[nodiscard]] std::string subject_of(std::string_view model, std::int64_t number);

}  // namespace tidemill::models
