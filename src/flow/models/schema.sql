-- Registered models, their versions and what was found out about them. Rows are marked deleted, never removed: gate
-- reports and predictions name them for ever.
-- step 1
CREATE TABLE models (
  name TEXT PRIMARY KEY,
  description TEXT NOT NULL,
  next_number INTEGER NOT NULL DEFAULT 1, -- never goes back, also when the model is deleted and made again
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE model_tags (
  model TEXT NOT NULL REFERENCES models (name) ON UPDATE CASCADE,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE TABLE model_versions (
  model TEXT NOT NULL REFERENCES models (name) ON UPDATE CASCADE,
  number INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('candidate', 'tested', 'approved', 'rejected', 'archived')),
  stage TEXT NOT NULL CHECK (stage IN ('None', 'Staging', 'Production', 'Archived')),
  description TEXT NOT NULL,
  source TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_link TEXT NOT NULL,
  digest TEXT NOT NULL,
  onnx TEXT NOT NULL,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL,
  decided_by TEXT NOT NULL DEFAULT '',
  decided_reason TEXT NOT NULL DEFAULT '',
  once_key TEXT UNIQUE, -- of the step that made it; NULL = made by hand
  content TEXT NOT NULL, -- columns, label, inputs, outputs, lineage, parity, files as JSON
  baseline TEXT,
  deleted INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (model, number)
);
CREATE INDEX model_versions_by_run ON model_versions (run_id) WHERE run_id <> '';
CREATE TABLE model_version_tags (
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, number, key),
  FOREIGN KEY (model, number) REFERENCES model_versions (model, number) ON UPDATE CASCADE
) WITHOUT ROWID;
CREATE TABLE model_aliases (
  model TEXT NOT NULL,
  alias TEXT NOT NULL,
  number INTEGER NOT NULL,
  PRIMARY KEY (model, alias),
  FOREIGN KEY (model, number) REFERENCES model_versions (model, number) ON UPDATE CASCADE
) WITHOUT ROWID;
CREATE TABLE model_gate_reports (
  id INTEGER PRIMARY KEY,
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  once_key TEXT UNIQUE, -- of the step that made it; NULL = made by hand
  report TEXT NOT NULL,
  FOREIGN KEY (model, number) REFERENCES model_versions (model, number) ON UPDATE CASCADE
);
CREATE INDEX model_gate_reports_by_version ON model_gate_reports (model, number);
