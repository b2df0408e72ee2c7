-- What a merchandiser decides about items: every version, the newest counts. Without settings the rule is removed.
CREATE TABLE rules (
    id text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    version integer NOT NULL CHECK (version > 0),
    settings jsonb,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    reason text,
    change bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (id, version)
);

-- Numbers all changes in the order in which they were made, so that a gateway sees with one look whether there are new ones.
CREATE UNIQUE INDEX rules_by_change ON rules (change);
