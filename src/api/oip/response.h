// Answers and errors in the protocol's form. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "api/http/message.h"
#include "api/oip/request.h"
#include "base/result.h"
#include "flow/predictions/types.h"

namespace tidemill::oip {

// Returns the answer to `request`. The outputs that it wants as binary follow the JSON, whose length then stands in the
// header Inference-Header-Content-Length.
[[nodiscard]] http::Response response_of(std::string_view deployment, const InferRequest& request,
                                         const predictions::Answer& answer);

// {"error": "<message and remedy>", "reason": "<dotted key>"} with the status (and Retry-After) that Response::error
// gives.
[[nodiscard]] http::Response error_response(const Error& error);

}  // namespace tidemill::oip
