-- Whether age, gender and race are reported to an application.
ALTER TABLE applications ADD COLUMN attributes INTEGER NOT NULL DEFAULT 1;
