-- Groups of users that the shop has defined. `due_at` says when their members are found again.
CREATE TABLE segments (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),
    name text NOT NULL,
    definition jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now()
);

-- The moments at which the members of a segment were found, by number from 1.
CREATE TABLE segment_snapshots (
    segment_id text NOT NULL REFERENCES segments ON DELETE CASCADE,
    number bigint NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    members bigint NOT NULL,
    PRIMARY KEY (segment_id, number)
);

-- Who is a member from which snapshot on, and the first one without them. So a snapshot can be read while others are made.
CREATE TABLE segment_members (
    segment_id text NOT NULL REFERENCES segments ON DELETE CASCADE,
    user_id text NOT NULL,
    joined bigint NOT NULL,
    gone bigint,
    PRIMARY KEY (segment_id, user_id, joined)
);
CREATE INDEX segment_members_of_user ON segment_members (user_id);
