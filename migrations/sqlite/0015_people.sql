-- When a template was last changed, and the revision of that change. NULL and 0: not since a version before.
ALTER TABLE templates ADD COLUMN updated_at INTEGER;
ALTER TABLE templates ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
CREATE INDEX templates_by_update ON templates (app_id, coalesce(updated_at, created_at));

-- What an application notes about a person: name, external id, groups, metadata and reference to a consent, as JSON,
-- sealed under a data key of its own, and erased with the template. external_hash finds an external id without opening
-- it: an HMAC under a key that is sealed in `meta`. named: whether there is a name. expires_at: from when the template
-- is erased.
CREATE TABLE details (
    app_id        TEXT NOT NULL,
    template_id   TEXT NOT NULL,
    external_hash BLOB,
    named         INTEGER NOT NULL,
    expires_at    INTEGER,
    sealed        BLOB NOT NULL,
    data_key      BLOB NOT NULL,
    PRIMARY KEY (app_id, template_id),
    UNIQUE (app_id, external_hash),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX details_by_expiry ON details (app_id, expires_at);

-- Whether names are searched, in memory: off for applications of before. Whether an enrollment needs a reference to a
-- consent.
ALTER TABLE applications ADD COLUMN name_search INTEGER NOT NULL DEFAULT 0;
ALTER TABLE applications ADD COLUMN require_consent INTEGER NOT NULL DEFAULT 0;

-- As held_before and confirmed_before, for templates with an expiry of their own: those that expire before this time.
ALTER TABLE retention ADD COLUMN held_until INTEGER NOT NULL DEFAULT 0;
ALTER TABLE retention ADD COLUMN confirmed_until INTEGER NOT NULL DEFAULT 0;
