-- Endpoints and the policies by which they may change themselves. What was live when stands in the event log.
-- step 1
CREATE TABLE deployments (
  name TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  revision INTEGER NOT NULL,
  definition TEXT NOT NULL            -- Deployment as JSON
) WITHOUT ROWID;
CREATE TABLE deployment_policies (
  deployment TEXT NOT NULL REFERENCES deployments (name),
  name TEXT NOT NULL,
  approval TEXT NOT NULL,
  definition TEXT NOT NULL,           -- Policy as JSON
  PRIMARY KEY (deployment, name)
) WITHOUT ROWID;
CREATE TABLE deployment_releases (    -- so that a step run again after a crash does not release twice
  once_key TEXT PRIMARY KEY,
  result TEXT NOT NULL
) WITHOUT ROWID;
