-- The most templates and samples of an application; NULL: no limit. The size of its gallery, as counted at one revision;
-- it applies only while that revision is the newest.
ALTER TABLE applications ADD COLUMN max_templates BIGINT;
ALTER TABLE applications ADD COLUMN max_samples BIGINT;
ALTER TABLE applications ADD COLUMN counted_revision BIGINT;
ALTER TABLE applications ADD COLUMN counted_templates BIGINT;
ALTER TABLE applications ADD COLUMN counted_samples BIGINT;
