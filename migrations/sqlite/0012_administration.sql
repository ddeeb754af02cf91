-- Administrators, who use the administration API and the console; their tokens, sessions and one-time codes. Secrets are
-- stored as their SHA-256. `applications` is a JSON list of ids; NULL is all of them.
CREATE TABLE administrators (
    admin_id        TEXT PRIMARY KEY NOT NULL,
    name            TEXT NOT NULL,
    name_key        TEXT NOT NULL UNIQUE,
    role            TEXT NOT NULL,
    applications    TEXT,
    may_change      INTEGER NOT NULL,
    active          INTEGER NOT NULL,
    bootstrap       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    last_sign_in_at INTEGER
) STRICT;

CREATE TABLE admin_tokens (
    token_id     TEXT PRIMARY KEY NOT NULL,
    admin_id     TEXT NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    hash         BLOB NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER
) STRICT;
CREATE INDEX admin_tokens_by_administrator ON admin_tokens (admin_id);

-- A session ends with its token.
CREATE TABLE admin_sessions (
    session_id   TEXT PRIMARY KEY NOT NULL,
    hash         BLOB NOT NULL UNIQUE,
    admin_id     TEXT NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    token_id     TEXT REFERENCES admin_tokens (token_id) ON DELETE CASCADE,
    address      TEXT,
    client       TEXT,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    confirmed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX admin_sessions_by_administrator ON admin_sessions (admin_id);
CREATE INDEX admin_sessions_by_token ON admin_sessions (token_id);

CREATE TABLE admin_codes (
    hash       BLOB PRIMARY KEY NOT NULL,
    admin_id   TEXT NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX admin_codes_by_administrator ON admin_codes (admin_id);

-- Who did what an event records, and what it is about. `changed`: the names of fields, separated by commas.
ALTER TABLE outbox ADD COLUMN actor TEXT;
ALTER TABLE outbox ADD COLUMN sample_id BLOB;
ALTER TABLE outbox ADD COLUMN key_id TEXT;
ALTER TABLE outbox ADD COLUMN changed TEXT;
