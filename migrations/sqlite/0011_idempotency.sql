-- The replies of enrollments with an Idempotency-Key, so that a repeated request is answered again instead of executed
-- again: under the SHA-256 of the key, sealed under a data key of their own, for a day, and erased with the template.
CREATE TABLE idempotency (
    app_id      TEXT NOT NULL,
    key_hash    BLOB NOT NULL,
    template_id TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    data_key    BLOB NOT NULL,
    PRIMARY KEY (app_id, key_hash),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX idempotency_by_template ON idempotency (app_id, template_id);
CREATE INDEX idempotency_by_age ON idempotency (expires_at);
