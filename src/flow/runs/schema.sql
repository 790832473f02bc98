-- Tables of the room runs. Why they look so: docs/decisions/0004-runs-layout.md.
--
-- A run is known outside by its id (32 hex digits) and inside by `n`, an integer: every row of bulk data carries it, so
-- it has to be small. For the same reason names of metrics, parameters and tags are kept once, in run_keys.
-- Bulk tables have no foreign keys: each write has found its run in the same transaction.
-- step 1
CREATE TABLE experiments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,  -- 0 is the one that is always there
  name TEXT NOT NULL UNIQUE,             -- stays taken after a deletion
  artefact_root TEXT NOT NULL,           -- '' = our own store
  lifecycle TEXT NOT NULL CHECK (lifecycle IN ('active', 'deleted')),
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
);
CREATE TABLE experiment_tags (
  experiment INTEGER NOT NULL REFERENCES experiments (id),
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (experiment, key)
) WITHOUT ROWID;
CREATE TABLE run_keys (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL REFERENCES experiments (id),
  name TEXT NOT NULL,
  person TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('running', 'scheduled', 'finished', 'failed', 'killed')),
  lifecycle TEXT NOT NULL CHECK (lifecycle IN ('active', 'deleted')),
  start_ms INTEGER,
  end_ms INTEGER
);
CREATE INDEX runs_by_start ON runs (experiment, lifecycle, start_ms DESC, id);
CREATE TABLE run_params (
  run INTEGER NOT NULL,
  key INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
-- The first 64 characters find nearly every value at once, without copying long ones into the index.
CREATE INDEX run_params_by_value ON run_params (experiment, key, substr(value, 1, 64));
CREATE TABLE run_tags (
  run INTEGER NOT NULL,
  key INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX run_tags_by_value ON run_tags (experiment, key, substr(value, 1, 64));
-- Every point, clustered by the curve that it belongs to; the key is the whole row, so the same point is kept once.
-- `value` is the double as an integer that sorts alike (metric_value.h): exact for every bit pattern, NaN last.
CREATE TABLE run_metrics (
  run INTEGER NOT NULL,
  key INTEGER NOT NULL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (run, key, step, at_ms, value)
) WITHOUT ROWID;
-- The point with the largest (step, at_ms, value) of each curve: what lists show and searches ask for.
CREATE TABLE run_latest_metrics (
  run INTEGER NOT NULL,
  key INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  value INTEGER NOT NULL,
  points INTEGER NOT NULL,  -- how many the curve has
  PRIMARY KEY (run, key)
) WITHOUT ROWID;
CREATE INDEX run_latest_metrics_by_value ON run_latest_metrics (experiment, key, value);
CREATE TABLE run_datasets (
  id INTEGER PRIMARY KEY,
  experiment INTEGER NOT NULL REFERENCES experiments (id),
  name TEXT NOT NULL,
  digest TEXT NOT NULL,
  source_type TEXT NOT NULL,
  source TEXT NOT NULL,
  schema TEXT,
  profile TEXT,
  UNIQUE (experiment, name, digest)
);
CREATE TABLE run_inputs (
  run INTEGER NOT NULL,
  dataset INTEGER NOT NULL REFERENCES run_datasets (id),
  PRIMARY KEY (run, dataset)
) WITHOUT ROWID;
CREATE INDEX run_inputs_by_dataset ON run_inputs (dataset);
CREATE TABLE run_input_tags (
  run INTEGER NOT NULL,
  dataset INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (run, dataset, key)
) WITHOUT ROWID;
CREATE TABLE run_models (
  run INTEGER NOT NULL,
  direction TEXT NOT NULL CHECK (direction IN ('input', 'output')),
  model TEXT NOT NULL,
  step INTEGER NOT NULL,
  PRIMARY KEY (run, direction, model)
) WITHOUT ROWID;
CREATE TABLE logged_models (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL REFERENCES experiments (id),
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  source_run TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('unspecified', 'pending', 'ready', 'upload_failed')),
  lifecycle TEXT NOT NULL CHECK (lifecycle IN ('active', 'deleted')),
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
);
CREATE INDEX logged_models_by_time ON logged_models (experiment, lifecycle, made_ms DESC, id);
CREATE TABLE logged_model_params (
  model INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE TABLE logged_model_tags (
  model INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (model, key)
) WITHOUT ROWID;
CREATE TABLE logged_model_metrics (
  model INTEGER NOT NULL,
  key TEXT NOT NULL,
  dataset_name TEXT NOT NULL,
  dataset_digest TEXT NOT NULL,
  step INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  value INTEGER NOT NULL,
  run TEXT NOT NULL,
  PRIMARY KEY (model, key, dataset_name, dataset_digest, step, at_ms, value, run)
) WITHOUT ROWID;
-- Files by their path from the root of our own artefact store, such as 'experiment/run/artifacts/model/MLmodel'.
CREATE TABLE artefacts (
  path TEXT PRIMARY KEY,
  blob TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;
