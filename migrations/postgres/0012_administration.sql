-- Administrators, who use the administration API and the console; their tokens, sessions and one-time codes. Secrets are
-- stored as their SHA-256. `applications` is a JSON list of ids; NULL is all of them.
CREATE TABLE administrators (
    admin_id        TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name            TEXT NOT NULL,
    name_key        TEXT COLLATE "C" NOT NULL UNIQUE,
    role            TEXT NOT NULL,
    applications    TEXT,
    may_change      BOOLEAN NOT NULL,
    active          BOOLEAN NOT NULL,
    bootstrap       BOOLEAN NOT NULL,
    created_at      BIGINT NOT NULL,
    last_sign_in_at BIGINT
);

CREATE TABLE admin_tokens (
    token_id     TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    admin_id     TEXT COLLATE "C" NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    hash         BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    expires_at   BIGINT
);
CREATE INDEX admin_tokens_by_administrator ON admin_tokens (admin_id);

-- A session ends with its token.
CREATE TABLE admin_sessions (
    session_id   TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    hash         BYTEA NOT NULL UNIQUE,
    admin_id     TEXT COLLATE "C" NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    token_id     TEXT COLLATE "C" REFERENCES admin_tokens (token_id) ON DELETE CASCADE,
    address      TEXT,
    client       TEXT,
    created_at   BIGINT NOT NULL,
    last_seen_at BIGINT NOT NULL,
    confirmed_at BIGINT NOT NULL
);
CREATE INDEX admin_sessions_by_administrator ON admin_sessions (admin_id);
CREATE INDEX admin_sessions_by_token ON admin_sessions (token_id);

CREATE TABLE admin_codes (
    hash       BYTEA PRIMARY KEY NOT NULL,
    admin_id   TEXT COLLATE "C" NOT NULL REFERENCES administrators (admin_id) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX admin_codes_by_administrator ON admin_codes (admin_id);

-- Who did what an event records, and what it is about. `changed`: the names of fields, separated by commas.
ALTER TABLE outbox ADD COLUMN actor TEXT;
ALTER TABLE outbox ADD COLUMN sample_id BYTEA;
ALTER TABLE outbox ADD COLUMN key_id TEXT;
ALTER TABLE outbox ADD COLUMN changed TEXT;
