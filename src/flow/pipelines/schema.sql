-- step 1
CREATE TABLE pipelines (
  name TEXT PRIMARY KEY,
  description TEXT NOT NULL,
  latest INTEGER NOT NULL,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE pipeline_versions (
  pipeline TEXT NOT NULL,
  number INTEGER NOT NULL,
  digest TEXT NOT NULL,
  definition TEXT NOT NULL,
  files TEXT NOT NULL, -- JSON: path → blob
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  PRIMARY KEY (pipeline, number),
  UNIQUE (pipeline, digest)
) WITHOUT ROWID;

CREATE TABLE pipeline_runs (
  id TEXT PRIMARY KEY,
  pipeline TEXT NOT NULL,
  version INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
  params TEXT NOT NULL,
  cause TEXT NOT NULL,
  message TEXT NOT NULL DEFAULT '',
  made_by TEXT NOT NULL,
  queued_ms INTEGER NOT NULL,
  started_ms INTEGER,
  finished_ms INTEGER,
  job TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX pipeline_runs_by_pipeline ON pipeline_runs (pipeline, id);
CREATE INDEX pipeline_runs_live ON pipeline_runs (id) WHERE state IN ('queued', 'running');

CREATE TABLE pipeline_steps (
  run TEXT NOT NULL,
  position INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'succeeded', 'failed', 'skipped', 'cancelled')),
  attempt INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  cached INTEGER NOT NULL DEFAULT 0,
  started_ms INTEGER,
  finished_ms INTEGER,
  message TEXT NOT NULL DEFAULT '',
  result TEXT NOT NULL DEFAULT '{}',
  outputs TEXT NOT NULL DEFAULT '[]', -- JSON: [{name, blob, bytes}]
  PRIMARY KEY (run, position)
) WITHOUT ROWID;

-- What a step with `cache: true` made, by the hash of all that it was made from.
CREATE TABLE pipeline_cache (
  key TEXT PRIMARY KEY,
  result TEXT NOT NULL,
  outputs TEXT NOT NULL,
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;
