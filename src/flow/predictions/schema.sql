-- Which Parquet files hold predictions and labels, and which journal files they were made of.
-- step 1
CREATE TABLE prediction_segments (
  file TEXT PRIMARY KEY,              -- beneath the folder of predictions
  journal INTEGER NOT NULL,           -- number of the journal file it was made of
  deployment TEXT NOT NULL,           -- '' = labels of all deployments
  rows INTEGER NOT NULL,
  at_min_ms INTEGER NOT NULL,
  at_max_ms INTEGER NOT NULL,
  logged_min_ms INTEGER NOT NULL,
  logged_max_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE prediction_journals (
  number INTEGER PRIMARY KEY          -- sealed: everything in it stands in segments
);
