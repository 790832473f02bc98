-- Monitors and the windows that they have closed.
-- step 1
CREATE TABLE monitors (
  name TEXT PRIMARY KEY,
  deployment TEXT NOT NULL,
  definition TEXT NOT NULL,           -- NewMonitor as JSON
  next_start_ms INTEGER,              -- of the first window that is still open; NULL until a prediction is seen
  enabled INTEGER NOT NULL DEFAULT 1,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE monitor_windows (
  monitor TEXT NOT NULL REFERENCES monitors (name),
  start_ms INTEGER NOT NULL,
  label TEXT NOT NULL,
  report TEXT NOT NULL,               -- Window as JSON
  PRIMARY KEY (monitor, start_ms)
) WITHOUT ROWID;
