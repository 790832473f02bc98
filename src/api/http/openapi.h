// The OpenAPI 3.1 document, from the route records.
#pragma once

#include "api/http/router.h"
#include "base/json.h"

namespace tidemill::http {

// Returns the document: every route with its right, parameters, body and answers. Deterministic.
[[nodiscard]] json::Value openapi(const Router& router, std::string_view version);

}  // namespace tidemill::http
