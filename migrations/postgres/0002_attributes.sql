-- Whether age, gender and race are reported to an application.
ALTER TABLE applications ADD COLUMN attributes BOOLEAN NOT NULL DEFAULT TRUE;
