-- The key of the hashes below, as HMAC-SHA256 uses it; made with the first erasure. It lives here, and not with the gateway's
-- secret: workers and loaders must recognize erased people too, also after the secret was renewed.
CREATE TABLE erasure_keys (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL
);

CREATE TABLE erasures (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    person bytea NOT NULL UNIQUE,  -- a keyed hash: the id itself is not kept
    erased_at timestamptz NOT NULL,
    requested_by text NOT NULL,    -- the client
    stores jsonb NOT NULL,         -- store -> {status, at, note}
    people text[],                 -- "user:ID", "guest:ID", while some store still holds their data; then null
    completed_at timestamptz
);
CREATE INDEX erasures_open ON erasures (erased_at) WHERE completed_at IS NULL;

-- Events of these people from before that moment are not kept, however late they arrive.
CREATE TABLE tombstones (
    person bytea PRIMARY KEY,
    erased_at timestamptz NOT NULL
);
CREATE INDEX tombstones_newest ON tombstones (erased_at);
