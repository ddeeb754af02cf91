-- The most templates and samples of an application; NULL: no limit. The size of its gallery, as counted at one revision;
-- it applies only while that revision is the newest.
ALTER TABLE applications ADD COLUMN max_templates INTEGER;
ALTER TABLE applications ADD COLUMN max_samples INTEGER;
ALTER TABLE applications ADD COLUMN counted_revision INTEGER;
ALTER TABLE applications ADD COLUMN counted_templates INTEGER;
ALTER TABLE applications ADD COLUMN counted_samples INTEGER;
