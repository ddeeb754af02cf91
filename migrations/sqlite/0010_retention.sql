-- What retention erased, by hour since 1970: the budget of a day.
CREATE TABLE expired (
    app_id    TEXT NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    hour      INTEGER NOT NULL,
    templates INTEGER NOT NULL,
    PRIMARY KEY (app_id, hour)
) STRICT;

-- More than the budget is held until an operator confirms. share: percent of the gallery that may expire within a day,
-- NULL: the default. held: templates that are due, enrolled before held_before, held since held_since. confirmed: how
-- many templates that were enrolled before confirmed_before may be erased without the budget.
CREATE TABLE retention (
    app_id           TEXT PRIMARY KEY NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    share            INTEGER,
    held             INTEGER NOT NULL DEFAULT 0,
    held_before      INTEGER NOT NULL DEFAULT 0,
    held_since       INTEGER NOT NULL DEFAULT 0,
    confirmed        INTEGER NOT NULL DEFAULT 0,
    confirmed_before INTEGER NOT NULL DEFAULT 0
) STRICT;
