-- People, their tokens, and what a second person was asked.
-- step 1
CREATE TABLE people (
  name TEXT PRIMARY KEY,
  roles TEXT NOT NULL,              -- JSON array of names
  password TEXT,                    -- Argon2id, in libsodium's text form
  disabled INTEGER NOT NULL DEFAULT 0,
  made_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE tokens (
  sha256 TEXT PRIMARY KEY,
  person TEXT NOT NULL REFERENCES people (name),
  prefix TEXT NOT NULL,
  label TEXT NOT NULL,
  made_ms INTEGER NOT NULL,
  expires_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX tokens_by_person ON tokens (person, prefix);
CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  kind TEXT NOT NULL,
  asked_by TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'withdrawn')),
  decided_by TEXT NOT NULL DEFAULT '',
  reason TEXT NOT NULL DEFAULT '',
  evidence TEXT NOT NULL,
  asked_ms INTEGER NOT NULL,
  decided_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX approvals_by_subject ON approvals (subject, kind);
CREATE UNIQUE INDEX approvals_one_open ON approvals (subject, kind) WHERE state = 'pending';
