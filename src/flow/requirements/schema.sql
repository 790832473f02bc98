-- Requirements and their revisions. A revision is written once; only the state of its requirement changes.
-- step 1
CREATE TABLE requirements (
  name TEXT PRIMARY KEY,
  revision INTEGER NOT NULL CHECK (revision > 0),
  state TEXT NOT NULL CHECK (state IN ('active', 'retired'))
) WITHOUT ROWID;
CREATE TABLE requirement_revisions (
  name TEXT NOT NULL REFERENCES requirements (name),
  revision INTEGER NOT NULL,
  content TEXT NOT NULL, -- NewRequirement as JSON
  made_by TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  PRIMARY KEY (name, revision)
) WITHOUT ROWID;
