// The queries of webhooks. Private to the room.
#pragma once

#include <vector>

#include "storage/sql/database.h"
#include "webhooks/types.h"

namespace tidemill::webhooks::store {

struct Kept {
  Webhook webhook;
  std::string sealed;  // "" = no secret
  std::int64_t cursor_seq = 0;
};

// A delivery with what is sent.
struct Due {
  Delivery delivery;
  std::string body;
};

[[nodiscard]] Result<void> put(sql::Tx& tx, const Kept& kept);
[[nodiscard]] Result<std::optional<Kept>> find(sql::Tx& tx, const WebhookId& id);
[[nodiscard]] Result<std::vector<Kept>> list(sql::Tx& tx);
// Returns how many there were.
[[nodiscard]] Result<std::int64_t> remove(sql::Tx& tx, const WebhookId& id);
[[nodiscard]] Result<void> move_cursor(sql::Tx& tx, const WebhookId& id, std::int64_t seq);
[[nodiscard]] Result<void> move_cursors(sql::Tx& tx, std::int64_t seq);

// Does nothing when this webhook has one for the event already.
[[nodiscard]] Result<void> add_delivery(sql::Tx& tx, const WebhookId& id, const Due& due);
[[nodiscard]] Result<void> settle(sql::Tx& tx, const Delivery& delivery);
// The oldest one that is pending.
[[nodiscard]] Result<std::optional<Due>> next(sql::Tx& tx, const WebhookId& id);
[[nodiscard]] Result<std::int64_t> count_pending(sql::Tx& tx, const WebhookId& id);
[[nodiscard]] Result<std::vector<Delivery>> deliveries(sql::Tx& tx, const WebhookId& id,
                                                       std::optional<DeliveryState> state, std::int64_t limit);
// Forgets what was settled before.
[[nodiscard]] Result<void> tidy(sql::Tx& tx, std::int64_t before_ms);

}  // namespace tidemill::webhooks::store
