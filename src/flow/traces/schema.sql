-- Tables of the room traces. A trace is known outside by its id and inside by `n`; names of tags and metadata are kept
-- once, in trace_keys. Bulk tables have no foreign keys: each write has found its trace in the same transaction.
-- step 1
CREATE TABLE trace_keys (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('tag', 'metadata')),
  key TEXT NOT NULL,
  UNIQUE (kind, key)
);
CREATE TABLE traces (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL,
  client_request_id TEXT,
  at_ms INTEGER NOT NULL,
  duration_ms INTEGER,
  state TEXT NOT NULL CHECK (state IN ('state_unspecified', 'in_progress', 'ok', 'error')),
  name TEXT,
  run TEXT,                    -- in which it came to be
  request_preview TEXT,
  response_preview TEXT,
  started INTEGER NOT NULL,    -- 1 once start() has said when it began and how long it took
  own_tokens INTEGER NOT NULL, -- 1 where start() said how many tokens were used,
  own_costs INTEGER NOT NULL,  -- and what they cost
  input_tokens INTEGER,
  output_tokens INTEGER,
  total_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_creation_tokens INTEGER,
  input_cost REAL,
  output_cost REAL,
  total_cost REAL,
  spans INTEGER NOT NULL
);
CREATE INDEX traces_by_time ON traces (experiment, at_ms DESC, id);
CREATE INDEX traces_by_name ON traces (experiment, name);
CREATE INDEX traces_by_client ON traces (experiment, client_request_id) WHERE client_request_id IS NOT NULL;
CREATE TABLE trace_values (  -- tags and metadata
  trace INTEGER NOT NULL,
  key INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (trace, key)
) WITHOUT ROWID;
CREATE INDEX trace_values_by_value ON trace_values (experiment, key, substr(value, 1, 64));
CREATE TABLE trace_spans (
  n INTEGER PRIMARY KEY,
  trace INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  id TEXT NOT NULL,
  parent TEXT NOT NULL,
  name TEXT NOT NULL,
  type TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('unset', 'ok', 'error')),
  start_ns INTEGER NOT NULL,
  end_ns INTEGER,
  model TEXT,
  provider TEXT,
  input_tokens INTEGER,
  output_tokens INTEGER,
  total_tokens INTEGER,
  cache_read_tokens INTEGER,
  cache_creation_tokens INTEGER,
  input_cost REAL,
  output_cost REAL,
  total_cost REAL,
  content TEXT NOT NULL,  -- JSON: attributes, events, links, message
  UNIQUE (trace, id)
);
CREATE INDEX trace_spans_by_name ON trace_spans (experiment, name, trace);
CREATE TABLE trace_links (
  trace INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('run', 'prompt')),
  target TEXT NOT NULL,  -- id of the run, or 'name/version' of the prompt
  PRIMARY KEY (kind, target, trace)
) WITHOUT ROWID;
CREATE INDEX trace_links_by_trace ON trace_links (trace);
CREATE TABLE trace_assessments (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  trace INTEGER NOT NULL,
  experiment INTEGER NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('feedback', 'expectation', 'issue')),
  name TEXT NOT NULL,
  span TEXT NOT NULL,
  source_type TEXT NOT NULL,
  source_id TEXT NOT NULL,
  value TEXT NOT NULL,  -- JSON
  number REAL,          -- of the value, where it is one
  error TEXT,           -- JSON
  rationale TEXT NOT NULL,
  metadata TEXT NOT NULL,  -- JSON
  overrides TEXT NOT NULL,
  valid INTEGER NOT NULL,
  made_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
);
CREATE INDEX trace_assessments_by_trace ON trace_assessments (trace);
CREATE INDEX trace_assessments_by_name ON trace_assessments (experiment, kind, name, substr(value, 1, 64));
