-- What happens when an enrollment looks like a mix-up (off, warn or refuse), and the least quality (crfiqa) of a photo
-- that is enrolled. NULL: none.
ALTER TABLE applications ADD COLUMN guard TEXT NOT NULL DEFAULT 'off';
ALTER TABLE applications ADD COLUMN min_quality DOUBLE PRECISION;
