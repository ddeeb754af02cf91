-- The replies of enrollments with an Idempotency-Key, so that a repeated request is answered again instead of executed
-- again: under the SHA-256 of the key, sealed under a data key of their own, for a day, and erased with the template.
CREATE TABLE idempotency (
    app_id      TEXT COLLATE "C" NOT NULL,
    key_hash    BYTEA NOT NULL,
    template_id TEXT COLLATE "C" NOT NULL,
    revision    BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,
    data_key    BYTEA NOT NULL,
    PRIMARY KEY (app_id, key_hash),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
);
CREATE INDEX idempotency_by_template ON idempotency (app_id, template_id);
CREATE INDEX idempotency_by_age ON idempotency (expires_at);
