-- The key before the present one, which may be in force for a while beside it.
ALTER TABLE applications ADD COLUMN former_key_hash BYTEA;
ALTER TABLE applications ADD COLUMN former_until BIGINT;
-- For how many seconds after its enrolment a template is kept. NULL: for ever.
ALTER TABLE applications ADD COLUMN retention_s BIGINT;
CREATE INDEX templates_by_age ON templates (app_id, created_at);
