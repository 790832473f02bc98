-- Feature views; a number is written once. The rows behind online values live in the key-value store.
-- step 1
CREATE TABLE feature_views (
  name TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number > 0),
  content TEXT NOT NULL, -- View as JSON
  PRIMARY KEY (name, number)
) WITHOUT ROWID;
CREATE TABLE feature_materializations (
  name TEXT NOT NULL,
  number INTEGER NOT NULL,
  content TEXT NOT NULL, -- Materialized as JSON, of the last time
  at_ms INTEGER NOT NULL,
  PRIMARY KEY (name, number),
  FOREIGN KEY (name, number) REFERENCES feature_views (name, number)
) WITHOUT ROWID;
