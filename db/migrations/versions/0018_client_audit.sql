-- What was done to a client and by whom, and how often it was refused each day. No secrets, no addresses.
CREATE TABLE oauth_client_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),  -- of refusals: the last one of the day
    action text NOT NULL CHECK (length(action) BETWEEN 1 AND 40),
    done_by text,  -- a client id, or the command and its user; null for refusals
    scopes_before text[],
    scopes text[],
    day date,  -- of refusals, as all that follow
    reason text CHECK (length(reason) BETWEEN 1 AND 64),
    count bigint NOT NULL DEFAULT 1,
    UNIQUE (client_id, day, reason)
);
CREATE INDEX oauth_client_audit_newest ON oauth_client_audit (client_id, id);
CREATE INDEX oauth_client_audit_days ON oauth_client_audit (day) WHERE day IS NOT NULL;

-- Apart from oauth_clients, whose rows every token request reads.
CREATE TABLE oauth_client_uses (
    client_id text PRIMARY KEY,
    used_at timestamptz NOT NULL
);

ALTER TABLE oauth_clients
    ADD COLUMN scopes_changed_at timestamptz,  -- tokens from before may have scopes that the client lost
    ADD COLUMN enabled_at timestamptz;  -- tokens from before it was disabled stay refused

ALTER TABLE oauth_keys
    ADD COLUMN signs_from timestamptz,  -- null: ten seconds after created_at
    ADD COLUMN revoked_at timestamptz;  -- its tokens are refused
