-- How long an application holds probes for review (seconds). NULL: it holds none.
ALTER TABLE applications ADD COLUMN keep_probes_s BIGINT;

-- Probes of identifications without a match, held until a person decides or `ends_at`. template_id and cosine: the
-- most similar template, where it came near the threshold; the row ends with that template. The embedding and, if the
-- photo could be cropped, a crop are sealed under one data key.
CREATE TABLE probes (
    app_id         TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    probe_id       BYTEA NOT NULL,
    template_id    TEXT COLLATE "C",
    cosine         DOUBLE PRECISION,
    threshold      DOUBLE PRECISION NOT NULL,
    quality        DOUBLE PRECISION,
    quality_fine   BIGINT,
    times          BIGINT NOT NULL,
    first_seen_at  BIGINT NOT NULL,
    last_seen_at   BIGINT NOT NULL,
    ends_at        BIGINT NOT NULL,
    transaction_id BYTEA NOT NULL,
    model          TEXT NOT NULL,
    sealed         BYTEA NOT NULL,
    crop           BYTEA,
    data_key       BYTEA NOT NULL,
    PRIMARY KEY (app_id, probe_id),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
);
CREATE INDEX probes_by_time ON probes (app_id, last_seen_at, probe_id);
CREATE INDEX probes_by_template ON probes (app_id, template_id);
CREATE INDEX probes_by_end ON probes (ends_at);
