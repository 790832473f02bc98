// An inference request as it arrives: JSON, perhaps followed by binary tensors. Private to this room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "flow/models/models.h"
#include "flow/predictions/types.h"

namespace tidemill::oip {

constexpr std::string_view kProbability = "probability";
constexpr std::string_view kLabel = "label";

constexpr std::size_t kInputsMax = 4096;
constexpr std::size_t kRankMax = 8;

struct WantedOutput {
  std::string name;
  bool binary = false;
};

struct InferRequest {
  predictions::Ask ask;               // deployment, version, request_id and deadline are the caller's to fill in
  bool ids_given = false;             // the client named its predictions; else the answer tells their ids
  std::string id;                     // the client's own, given back
  std::int64_t timeout_us = 0;        // 0 = none given
  std::vector<WantedOutput> outputs;  // in the order of the answer; never empty
};

// Reads a request for a model. `json_bytes` is the length of the JSON part where binary tensors follow it, as the
// header Inference-Header-Content-Length says; absent: all of `body` is JSON. kInvalidArgument names the input and what
// is wrong with it. Any thread.
[[nodiscard]] Result<InferRequest> parse_request(const std::string& body, std::optional<std::uint64_t> json_bytes,
                                                 const models::Scorer& scorer);

// Returns the number of elements of a shape; kInvalidArgument for a negative length, an empty or too long shape, or a
// product past 2^63.
[[nodiscard]] Result<std::uint64_t> element_count(std::string_view input, const std::vector<std::int64_t>& shape);

}  // namespace tidemill::oip
