-- step 1
CREATE TABLE triggers (
  name TEXT PRIMARY KEY,
  definition TEXT NOT NULL, -- JSON of NewTrigger
  enabled INTEGER NOT NULL,
  cursor_seq INTEGER NOT NULL,
  next_ms INTEGER,
  started_ms INTEGER,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE trigger_fires (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  trigger TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('event', 'schedule', 'manual')),
  cause TEXT NOT NULL,
  event_seq INTEGER,
  due_ms INTEGER,
  at_ms INTEGER NOT NULL,
  outcome TEXT NOT NULL CHECK (outcome IN ('started', 'cooling', 'failed')),
  pipeline_run TEXT,
  message TEXT NOT NULL
);
CREATE UNIQUE INDEX trigger_fires_by_event ON trigger_fires (trigger, event_seq) WHERE event_seq IS NOT NULL;
CREATE UNIQUE INDEX trigger_fires_by_moment ON trigger_fires (trigger, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX trigger_fires_by_trigger ON trigger_fires (trigger, number);
