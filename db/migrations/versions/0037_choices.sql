-- What people chose for their own lists: one row for a person who ever chose anything.
CREATE SEQUENCE choice_versions;

CREATE TABLE choices (
    kind text NOT NULL CHECK (kind IN ('user', 'guest')),
    id text NOT NULL,
    hidden_items text[] NOT NULL DEFAULT '{}',
    hidden_categories text[] NOT NULL DEFAULT '{}',
    paused_since timestamptz,
    version bigint NOT NULL DEFAULT nextval('choice_versions'),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, id)
);
