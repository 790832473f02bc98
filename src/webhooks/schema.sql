-- Who is told of events, and what was sent to whom.
-- step 1
CREATE TABLE webhooks (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  definition TEXT NOT NULL,         -- JSON of Webhook
  secret BLOB,                      -- sealed; NULL = none
  cursor_seq INTEGER NOT NULL       -- events up to this one have become deliveries
) WITHOUT ROWID;
CREATE TABLE webhook_deliveries (
  id TEXT PRIMARY KEY,              -- X-…-Delivery-Id, the same in every attempt
  webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_seq INTEGER NOT NULL,
  event TEXT NOT NULL,              -- as the receiver knows it
  body TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
  attempts INTEGER NOT NULL DEFAULT 0,
  due_ms INTEGER NOT NULL,
  status INTEGER,                   -- of the last answer
  error TEXT NOT NULL DEFAULT '',
  made_ms INTEGER NOT NULL,
  settled_ms INTEGER,
  UNIQUE (webhook, event_seq)
) WITHOUT ROWID;
CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (webhook, event_seq) WHERE state = 'pending';
CREATE INDEX webhook_deliveries_settled ON webhook_deliveries (settled_ms) WHERE state != 'pending';
