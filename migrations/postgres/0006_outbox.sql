-- What the journal is to tell of: put down in the transaction of what happened, so that neither is without the other.
-- A node writes the line, sees it on its disk, and only then takes the row away. No reference to the application:
-- the row outlives it.
CREATE TABLE outbox (
    notice_id      BYTEA PRIMARY KEY NOT NULL,
    happened_at    BIGINT NOT NULL,
    operation      TEXT NOT NULL,
    transaction_id BYTEA,
    app_id         TEXT,
    template_id    TEXT,
    revision       BIGINT,
    detail         TEXT NOT NULL,
    node           BYTEA,
    claim          BYTEA,
    claimed_until  BIGINT
);
CREATE INDEX outbox_by_age ON outbox (happened_at, notice_id);

-- How far the journal of each node is known to reach: a line that is on its disk, and its mac.
CREATE TABLE journals (
    node      BYTEA PRIMARY KEY NOT NULL,
    last_line BIGINT NOT NULL,
    mac       BYTEA NOT NULL,
    seen_at   BIGINT NOT NULL
);
