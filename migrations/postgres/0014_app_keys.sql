-- The keys of applications. scopes: names, separated by commas. state: active, suspended or ended. ends_at: the end of the
-- overlap of a key that was replaced. hint: the last characters of the key. NULL in created_by, hint and last_used_at: a
-- key of a version before.
CREATE TABLE app_keys (
    app_id       TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    key_id       TEXT COLLATE "C" NOT NULL,
    name         TEXT NOT NULL,
    key_hash     BYTEA NOT NULL,
    hint         TEXT,
    scopes       TEXT NOT NULL,
    state        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    created_by   TEXT,
    last_used_at BIGINT,
    ends_at      BIGINT,
    expires_at   BIGINT,
    PRIMARY KEY (app_id, key_id)
);

-- key_hash, former_key_hash and former_until stay for servers of the version before that run beside this one: a copy of the
-- keys that those can understand. The program makes rows of the keys that are there when it opens the database.

-- threshold, rate_per_s, rate_burst, share: NULL is the server's setting. settings_revision: the number of changes of this
-- row by an operator.
ALTER TABLE applications ADD COLUMN state TEXT NOT NULL DEFAULT 'active';
ALTER TABLE applications ADD COLUMN threshold DOUBLE PRECISION;
ALTER TABLE applications ADD COLUMN rate_per_s DOUBLE PRECISION;
ALTER TABLE applications ADD COLUMN rate_burst BIGINT;
ALTER TABLE applications ADD COLUMN share DOUBLE PRECISION;
ALTER TABLE applications ADD COLUMN settings_revision BIGINT NOT NULL DEFAULT 0;
