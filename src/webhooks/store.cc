#include "webhooks/store.h"

namespace tidemill::webhooks::store {
namespace {

constexpr sql::Query kPut{"webhooks.put",
                          "INSERT INTO webhooks (id, name, definition, secret, cursor_seq) VALUES (?1, ?2, ?3, ?4, ?5)"
                          " ON CONFLICT (id) DO UPDATE SET name = excluded.name, definition = excluded.definition,"
                          " secret = excluded.secret, cursor_seq = excluded.cursor_seq"};
constexpr sql::Query kFind{"webhooks.find", "SELECT definition, secret, cursor_seq FROM webhooks WHERE id = ?1"};
constexpr sql::Query kList{"webhooks.list", "SELECT definition, secret, cursor_seq FROM webhooks ORDER BY name, id"};
constexpr sql::Query kRemove{"webhooks.remove", "DELETE FROM webhooks WHERE id = ?1"};
constexpr sql::Query kRemoveDeliveries{"webhooks.remove_deliveries",
                                       "DELETE FROM webhook_deliveries WHERE webhook = ?1"};
constexpr sql::Query kMoveCursor{"webhooks.move_cursor", "UPDATE webhooks SET cursor_seq = ?2 WHERE id = ?1"};
constexpr sql::Query kMoveCursors{"webhooks.move_cursors", "UPDATE webhooks SET cursor_seq = ?1 WHERE cursor_seq < ?1"};
constexpr sql::Query kAddDelivery{
    "webhooks.add_delivery",
    "INSERT INTO webhook_deliveries (id, webhook, event_seq, event, body, state, due_ms, error, made_ms, settled_ms)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT (webhook, event_seq) DO NOTHING"};
constexpr sql::Query kSettle{"webhooks.settle",
                             "UPDATE webhook_deliveries SET state = ?2, attempts = ?3, due_ms = ?4, status = ?5,"
                             " error = ?6, settled_ms = ?7 WHERE id = ?1"};
constexpr sql::Query kNext{"webhooks.next",
                           "SELECT id, event_seq, event, state, attempts, due_ms, status, error, made_ms, settled_ms,"
                           " body FROM webhook_deliveries WHERE webhook = ?1 AND state = 'pending'"
                           " ORDER BY event_seq LIMIT 1"};
constexpr sql::Query kCountPending{"webhooks.count_pending",
                                   "SELECT count(*) FROM webhook_deliveries WHERE webhook = ?1 AND state = 'pending'"};
constexpr sql::Query kDeliveries{"webhooks.deliveries",
                                 "SELECT id, event_seq, event, state, attempts, due_ms, status, error, made_ms,"
                                 " settled_ms FROM webhook_deliveries WHERE webhook = ?1"
                                 " AND (?2 IS NULL OR state = ?2) ORDER BY event_seq DESC LIMIT ?3"};
constexpr sql::Query kTidy{"webhooks.tidy",
                           "DELETE FROM webhook_deliveries WHERE state != 'pending' AND settled_ms < ?1"};

Result<Kept> read_kept(const sql::Row& row) {
  auto webhook = json::decode<Webhook>(row.text(0));
  if (webhook) return Kept{*std::move(webhook), std::string(row.blob(1)), row.integer(2)};
  return fail(Code::kInternal, "webhooks.damaged", "A stored webhook does not read back: " + webhook.error().message,
              "Run the integrity check; restore a backup.");
}

Delivery read_delivery(const sql::Row& row) {
  return {row.string(0),  row.integer(1),      row.string(2),        row.enumerator<DeliveryState>(3),
          row.integer(4), row.integer(5),      row.maybe_integer(6), row.string(7),
          row.integer(8), row.maybe_integer(9)};
}

template <class... Args>
Result<std::vector<Kept>> read_all(sql::Tx& tx, const sql::Query& query, const Args&... args) {
  std::vector<Kept> all;
  TM_CHECK(tx.each(
      query,
      [&](const sql::Row& row) -> Result<void> {
        all.push_back(TM_TRY(read_kept(row)));
        return {};
      },
      args...));
  return all;
}

}  // namespace

Result<void> put(sql::Tx& tx, const Kept& kept) {
  const auto secret = kept.sealed.empty() ? std::nullopt : std::optional(sql::Blob{kept.sealed});
  TM_CHECK(tx.exec(kPut, kept.webhook.id, kept.webhook.name, json::encode(kept.webhook), secret, kept.cursor_seq));
  return {};
}

Result<std::optional<Kept>> find(sql::Tx& tx, const WebhookId& id) {
  auto found = TM_TRY(read_all(tx, kFind, id));
  if (found.empty()) return std::optional<Kept>();
  return std::optional<Kept>(std::move(found.front()));
}

Result<std::vector<Kept>> list(sql::Tx& tx) { return read_all(tx, kList); }

Result<std::int64_t> remove(sql::Tx& tx, const WebhookId& id) {
  TM_CHECK(tx.exec(kRemoveDeliveries, id));
  return tx.exec(kRemove, id);
}

Result<void> move_cursor(sql::Tx& tx, const WebhookId& id, std::int64_t seq) {
  TM_CHECK(tx.exec(kMoveCursor, id, seq));
  return {};
}

Result<void> move_cursors(sql::Tx& tx, std::int64_t seq) {
  TM_CHECK(tx.exec(kMoveCursors, seq));
  return {};
}

Result<void> add_delivery(sql::Tx& tx, const WebhookId& id, const Due& due) {
  const Delivery& delivery = due.delivery;
  TM_CHECK(tx.exec(kAddDelivery, delivery.id, id, delivery.event_seq, delivery.event, due.body, delivery.state,
                   delivery.due_ms, delivery.error, delivery.made_ms, delivery.settled_ms));
  return {};
}

Result<void> settle(sql::Tx& tx, const Delivery& delivery) {
  TM_CHECK(tx.exec(kSettle, delivery.id, delivery.state, delivery.attempts, delivery.due_ms, delivery.status,
                   delivery.error, delivery.settled_ms));
  return {};
}

Result<std::optional<Due>> next(sql::Tx& tx, const WebhookId& id) {
  return tx.one<Due>(
      kNext,
      [](const sql::Row& row) {
        return Due{read_delivery(row), row.string(10)};
      },
      id);
}

Result<std::int64_t> count_pending(sql::Tx& tx, const WebhookId& id) { return tx.integer(kCountPending, 0, id); }

Result<std::vector<Delivery>> deliveries(sql::Tx& tx, const WebhookId& id, std::optional<DeliveryState> state,
                                         std::int64_t limit) {
  return tx.all<Delivery>(kDeliveries, read_delivery, id, state, limit);
}

Result<void> tidy(sql::Tx& tx, std::int64_t before_ms) {
  TM_CHECK(tx.exec(kTidy, before_ms));
  return {};
}

}  // namespace tidemill::webhooks::store
