-- The figures of all users who ever bought, as the members of segments were found last: from them sizes are counted at once.
CREATE TABLE segment_figures (
    user_id text PRIMARY KEY,
    last_order timestamptz NOT NULL,
    orders integer NOT NULL,
    cents bigint NOT NULL,
    rfm text NOT NULL,
    quiet real[]  -- logarithms of the probability of no order within 0, 1, 2, ... weeks; null while no forecast serves
);

-- When the figures were found, in one row.
CREATE TABLE segment_figures_made (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    as_of timestamptz NOT NULL,
    forecast boolean NOT NULL
);
