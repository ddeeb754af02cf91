-- Who enrolled a sample, and the quality (crfiqa) of its photo with the verdict of that moment (1: fine). NULL: written
-- by a version before, or not measured.
ALTER TABLE samples ADD COLUMN enrolled_by TEXT;
ALTER TABLE samples ADD COLUMN quality DOUBLE PRECISION;
ALTER TABLE samples ADD COLUMN quality_fine BIGINT;

-- Which sample a kept reply describes: it is erased with it. NULL: written by a version before.
ALTER TABLE idempotency ADD COLUMN sample_id BYTEA;

-- Whether crops of the faces that an application enrolls are kept.
ALTER TABLE applications ADD COLUMN keep_crops BOOLEAN NOT NULL DEFAULT FALSE;

-- Crops, sealed under the data keys of their samples.
CREATE TABLE crops (
    app_id      TEXT COLLATE "C" NOT NULL,
    template_id TEXT COLLATE "C" NOT NULL,
    created_at  BIGINT NOT NULL,
    sample_id   BYTEA NOT NULL,
    bytes       BIGINT NOT NULL,
    sealed      BYTEA NOT NULL,
    PRIMARY KEY (app_id, template_id, created_at, sample_id),
    FOREIGN KEY (app_id, template_id, created_at, sample_id)
        REFERENCES samples (app_id, template_id, created_at, sample_id) ON DELETE CASCADE
);
CREATE INDEX crops_by_size ON crops (app_id, bytes);
