// The proof of the chain, for a log that nobody has open.
#pragma once

#include "base/result.h"
#include "events/types.h"
#include "storage/sql/database.h"

namespace tidemill::events {

// Recomputes the whole chain. An error only where the table cannot be read: a broken chain is a verdict.
[[nodiscard]] Result<Verification> verify(sql::Tx& tx);

}  // namespace tidemill::events
