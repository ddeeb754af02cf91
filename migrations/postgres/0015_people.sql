-- When a template was last changed, and the revision of that change. NULL and 0: not since a version before.
ALTER TABLE templates ADD COLUMN updated_at BIGINT;
ALTER TABLE templates ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
CREATE INDEX templates_by_update ON templates (app_id, (coalesce(updated_at, created_at)), template_id);
-- Pages in the order of enrollment end with the id, as they do in SQLite.
CREATE INDEX templates_by_enrollment ON templates (app_id, created_at, template_id);

-- What an application notes about a person: name, external id, groups, metadata and reference to a consent, as JSON,
-- sealed under a data key of its own, and erased with the template. external_hash finds an external id without opening
-- it: an HMAC under a key that is sealed in `meta`. named: whether there is a name. expires_at: from when the template
-- is erased.
CREATE TABLE details (
    app_id        TEXT COLLATE "C" NOT NULL,
    template_id   TEXT COLLATE "C" NOT NULL,
    external_hash BYTEA,
    named         BOOLEAN NOT NULL,
    expires_at    BIGINT,
    sealed        BYTEA NOT NULL,
    data_key      BYTEA NOT NULL,
    PRIMARY KEY (app_id, template_id),
    UNIQUE (app_id, external_hash),
    FOREIGN KEY (app_id, template_id) REFERENCES templates (app_id, template_id) ON DELETE CASCADE
);
CREATE INDEX details_by_expiry ON details (app_id, expires_at);

-- Whether names are searched, in memory: off for applications of before. Whether an enrollment needs a reference to a
-- consent.
ALTER TABLE applications ADD COLUMN name_search BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE applications ADD COLUMN require_consent BOOLEAN NOT NULL DEFAULT FALSE;

-- As held_before and confirmed_before, for templates with an expiry of their own: those that expire before this time.
ALTER TABLE retention ADD COLUMN held_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE retention ADD COLUMN confirmed_until BIGINT NOT NULL DEFAULT 0;
