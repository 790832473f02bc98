-- Datasets, and their versions, which are written once.
-- step 1
CREATE TABLE datasets (
  name TEXT PRIMARY KEY,
  content TEXT NOT NULL, -- NewDataset as JSON
  latest INTEGER NOT NULL DEFAULT 0,
  rows INTEGER NOT NULL DEFAULT 0, -- of the latest version
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE dataset_versions (
  dataset TEXT NOT NULL REFERENCES datasets (name),
  number INTEGER NOT NULL CHECK (number > 0),
  mode TEXT NOT NULL CHECK (mode IN ('append', 'replace')),
  rows INTEGER NOT NULL,
  rows_added INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  bytes_new INTEGER NOT NULL,
  digest TEXT NOT NULL,
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  content TEXT NOT NULL, -- parts, schema, profile and quality as JSON
  PRIMARY KEY (dataset, number)
) WITHOUT ROWID;
