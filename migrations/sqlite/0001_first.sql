-- Times are milliseconds since 1970. Text compares byte by byte (SQLite's BINARY collation).

CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value BLOB NOT NULL
) STRICT;

CREATE TABLE applications (
    app_id     TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    key_hash   BLOB NOT NULL,
    revision   INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE templates (
    app_id      TEXT NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    template_id TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    PRIMARY KEY (app_id, template_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE samples (
    app_id      TEXT NOT NULL,
    template_id TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    sample_id   BLOB NOT NULL,
    model       TEXT NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (app_id, template_id, created_at, sample_id),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- One row per write of a gallery, without gaps: what replicas follow.
CREATE TABLE changes (
    app_id      TEXT NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    revision    INTEGER NOT NULL,
    template_id TEXT NOT NULL,
    PRIMARY KEY (app_id, revision)
) STRICT, WITHOUT ROWID;
