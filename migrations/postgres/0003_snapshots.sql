-- Keys of snapshot files, which hold a gallery so that a start need not read every row. A removal of a
-- template deletes its gallery's keys: no snapshot that may hold it can be opened any more.
CREATE TABLE snapshots (
    app_id      TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    snapshot_id BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    sealed_key  BYTEA NOT NULL,
    PRIMARY KEY (app_id, snapshot_id)
);
