-- Who enrolled a sample, and the quality (crfiqa) of its photo with the verdict of that moment (1: fine). NULL: written
-- by a version before, or not measured.
ALTER TABLE samples ADD COLUMN enrolled_by TEXT;
ALTER TABLE samples ADD COLUMN quality REAL;
ALTER TABLE samples ADD COLUMN quality_fine INTEGER;

-- Which sample a kept reply describes: it is erased with it. NULL: written by a version before.
ALTER TABLE idempotency ADD COLUMN sample_id BLOB;

-- Whether crops of the faces that an application enrolls are kept.
ALTER TABLE applications ADD COLUMN keep_crops INTEGER NOT NULL DEFAULT 0;

-- Crops, sealed under the data keys of their samples.
CREATE TABLE crops (
    app_id      TEXT NOT NULL,
    template_id TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    sample_id   BLOB NOT NULL,
    bytes       INTEGER NOT NULL,
    sealed      BLOB NOT NULL,
    PRIMARY KEY (app_id, template_id, created_at, sample_id),
    FOREIGN KEY (app_id, template_id, created_at, sample_id)
        REFERENCES samples (app_id, template_id, created_at, sample_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX crops_by_size ON crops (app_id, bytes);
