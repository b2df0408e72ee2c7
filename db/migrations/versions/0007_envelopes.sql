-- The message as bus/envelope.py encodes it. A gateway of the release before neither writes nor reads it: it writes and
-- sends `body`, which this release writes as well, and the next one no longer does. Null: such a gateway wrote the row.
ALTER TABLE outbox ADD COLUMN envelope bytea;

-- With `task` and `body`, these make the envelope that a replay sends.
ALTER TABLE dead_events
    ADD COLUMN envelope_version smallint NOT NULL DEFAULT 1,
    ADD COLUMN envelope_id uuid NOT NULL DEFAULT gen_random_uuid();
