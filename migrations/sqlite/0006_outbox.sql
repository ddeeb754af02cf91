-- What the journal is to tell of: put down in the transaction of what happened, so that neither is without the other.
-- A node writes the line, sees it on its disk, and only then takes the row away. No reference to the application:
-- the row outlives it.
CREATE TABLE outbox (
    notice_id      BLOB PRIMARY KEY NOT NULL,
    happened_at    INTEGER NOT NULL,
    operation      TEXT NOT NULL,
    transaction_id BLOB,
    app_id         TEXT,
    template_id    TEXT,
    revision       INTEGER,
    detail         TEXT NOT NULL,
    node           BLOB,
    claim          BLOB,
    claimed_until  INTEGER
) STRICT;
CREATE INDEX outbox_by_age ON outbox (happened_at, notice_id);

-- How far the journal of each node is known to reach: a line that is on its disk, and its mac.
CREATE TABLE journals (
    node      BLOB PRIMARY KEY NOT NULL,
    last_line INTEGER NOT NULL,
    mac       BLOB NOT NULL,
    seen_at   INTEGER NOT NULL
) STRICT;
