-- Keys of snapshot files, which hold a gallery so that a start need not read every row. A removal of a
-- template deletes its gallery's keys: no snapshot that may hold it can be opened any more.
CREATE TABLE snapshots (
    app_id      TEXT NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    snapshot_id BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    sealed_key  BLOB NOT NULL,
    PRIMARY KEY (app_id, snapshot_id)
) STRICT;
