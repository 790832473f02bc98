// Kinds of events that this room emits; the subject is "datasets/<name>", of the versions "datasets/<name>/<number>".
#pragma once

#include <string_view>

namespace tidemill::datasets::events_of {

constexpr std::string_view kCreated = "datasets.created";                 // keys, columns, rules
constexpr std::string_view kRulesChanged = "datasets.rules_changed";      // before, after
constexpr std::string_view kColumnsChanged = "datasets.columns_changed";  // before, after
constexpr std::string_view kVersionAdded =
    "datasets.version_added";  // mode, rows, rows_added, bytes, bytes_new, digest, warnings
// subject "datasets/<name>": the upload's filename, mode, bytes and sha256; reason, message, and for a rule: rule,
// failed_rows, examples
constexpr std::string_view kVersionRefused = "datasets.version_refused";

}  // namespace tidemill::datasets::events_of
