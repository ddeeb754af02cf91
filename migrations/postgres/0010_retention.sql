-- What retention erased, by hour since 1970: the budget of a day.
CREATE TABLE expired (
    app_id    TEXT COLLATE "C" NOT NULL REFERENCES applications (app_id) ON DELETE CASCADE,
    hour      BIGINT NOT NULL,
    templates BIGINT NOT NULL,
    PRIMARY KEY (app_id, hour)
);

-- More than the budget is held until an operator confirms. share: percent of the gallery that may expire within a day,
-- NULL: the default. held: templates that are due, enrolled before held_before, held since held_since. confirmed: how
-- many templates that were enrolled before confirmed_before may be erased without the budget.
CREATE TABLE retention (
    app_id           TEXT COLLATE "C" PRIMARY KEY REFERENCES applications (app_id) ON DELETE CASCADE,
    share            BIGINT,
    held             BIGINT NOT NULL DEFAULT 0,
    held_before      BIGINT NOT NULL DEFAULT 0,
    held_since       BIGINT NOT NULL DEFAULT 0,
    confirmed        BIGINT NOT NULL DEFAULT 0,
    confirmed_before BIGINT NOT NULL DEFAULT 0
);
