-- Times are milliseconds since 1970. Text compares byte by byte (COLLATE "C"), as in SQLite.

CREATE TABLE meta (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE applications (
    app_id     TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT NOT NULL,
    key_hash   BYTEA NOT NULL,
    revision   BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);

CREATE TABLE templates (
    app_id      TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    template_id TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    PRIMARY KEY (app_id, template_id)
);

CREATE TABLE samples (
    app_id      TEXT COLLATE "C" NOT NULL,
    template_id TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    sample_id   BYTEA NOT NULL,
    model       TEXT COLLATE "C" NOT NULL,
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (app_id, template_id, created_at, sample_id),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
);

-- One row per write of a gallery, without gaps: what replicas follow.
CREATE TABLE changes (
    app_id      TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    revision    BIGINT NOT NULL,
    template_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (app_id, revision)
);
