// A look into a model file without the runtime: what can be refused by reading is never loaded.
#pragma once

#include <filesystem>
#include <string_view>

#include "base/result.h"
#include "runtimes/types.h"

namespace tidemill::runtimes {

// Returns what the ONNX file (a protobuf ModelProto) holds. Every length is checked against what is left, nothing is
// allocated by what the file claims. Errors (kInvalidArgument, or kTooLarge past a limit; the message names the place):
// not a ModelProto, cut short, no graph, weights kept in other files ("runtimes.external_data": a model must be one
// file, so that its digest covers it and no path leads out), an operator outside the domains that our runtime has
// ("runtimes.custom_operator"), a weight whose dimensions overflow or exceed the limit. Reads the file once, O(bytes);
// any thread.
[[nodiscard]] Result<Inspection> inspect_onnx(const std::filesystem::path& file, const FileLimits& limits = {});

// The same on bytes in memory.
[[nodiscard]] Result<Inspection> inspect_onnx_bytes(std::string_view bytes, const FileLimits& limits = {});

}  // namespace tidemill::runtimes
