-- Events that could not be stored, and messages that could not be read, until a person decides about them.
CREATE TABLE dead_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key text NOT NULL,       -- a digest of the event or message: dead-lettered again, it is the same row
    kind text NOT NULL CHECK (kind IN ('EVENT', 'MESSAGE')),  -- `body` is one event, or a message as received
    state text NOT NULL DEFAULT 'DEAD' CHECK (state IN ('DEAD', 'REPLAYED', 'DISCARDED')),
    died_at timestamptz NOT NULL DEFAULT now(),  -- when it was last dead-lettered
    reason text NOT NULL,    -- a code
    detail text NOT NULL,    -- for readers; holds no personal data
    attempts bigint NOT NULL,
    task text,
    source text,
    event_id text,
    occurred_at timestamptz,
    event_type text,
    user_id text,
    anonymous_id text,
    body bytea,              -- null once it was replayed or discarded
    decided_at timestamptz,
    decided_by text,
    decision text            -- why it was discarded
);
-- A discarded row stays as a record: the same event dead-lettered later is another row.
CREATE UNIQUE INDEX dead_events_key ON dead_events (key) WHERE state <> 'DISCARDED';
CREATE INDEX dead_events_undecided ON dead_events (id) WHERE state = 'DEAD';
CREATE INDEX dead_events_by_reason ON dead_events (reason, id) WHERE state = 'DEAD';
CREATE INDEX dead_events_of_user ON dead_events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX dead_events_of_guest ON dead_events (anonymous_id) WHERE anonymous_id IS NOT NULL;
