CREATE TYPE event_type AS ENUM (
    'VIEW', 'CLICK', 'ADD_TO_CART', 'REMOVE_FROM_CART', 'PURCHASE', 'RETURN',
    'RATING', 'LIKE', 'DISLIKE', 'SEARCH', 'IMPRESSION'
);

CREATE TABLE users (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
    traits jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL  -- by the sender's clock: an older patch is STALE
);

-- `number` is the item's dense integer id inside arrays (person states, bundles); it never changes.
CREATE TABLE items (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
    number integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    group_id text,
    title text,
    description text,
    categories text[] NOT NULL DEFAULT '{}',
    brand text,
    image_url text,
    url text,
    app_url text,
    attributes jsonb NOT NULL DEFAULT '{}',
    offers jsonb NOT NULL DEFAULT '[]',  -- [{market, price, listPrice, currency, available}]
    updated_at timestamptz NOT NULL,     -- by the sender's clock: an older patch is STALE
    removed_at timestamptz,              -- the row stays, so that every gateway reads the removal
    changed_seq bigint NOT NULL
);
CREATE INDEX items_changed ON items (changed_seq);

-- Writers of items take the advisory lock ITEM_WRITERS first, so numbers follow the order of commits.
-- A newer `updated_at` alone is not a change that gateways must read.
CREATE SEQUENCE items_changed_seq;
CREATE FUNCTION stamp_item_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        OLD.updated_at := NEW.updated_at;
        IF OLD IS NOT DISTINCT FROM NEW THEN
            RETURN NEW;
        END IF;
    END IF;
    NEW.changed_seq := nextval('items_changed_seq');
    RETURN NEW;
END $$;
CREATE TRIGGER stamp_item_change BEFORE INSERT OR UPDATE ON items
    FOR EACH ROW EXECUTE FUNCTION stamp_item_change();

-- No DEFAULT partition: partitions are made ahead, by the loader, and by the worker for late events.
CREATE TABLE events (
    source text NOT NULL,
    id text NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz,  -- when the gateway received it; null for history from the loader
    type event_type NOT NULL,
    user_id text,
    anonymous_id text,
    item_id text,
    item_ids text[],
    order_id text,
    quantity integer,
    unit_price numeric(14, 4),
    currency text,
    value numeric(14, 4),
    query text,
    impression_id text,
    session_id text,
    properties jsonb,
    digest bigint NOT NULL,   -- of the body: the same identity with another body is a conflict
    PRIMARY KEY (source, id, occurred_at)
) PARTITION BY RANGE (occurred_at);
CREATE INDEX events_of_user ON events (user_id, occurred_at) WHERE user_id IS NOT NULL;
CREATE INDEX events_of_guest ON events (anonymous_id, occurred_at) WHERE anonymous_id IS NOT NULL;

-- Attaching blocks neither readers nor writers of the other months; CREATE .. PARTITION OF would.
CREATE FUNCTION ensure_event_partitions(earliest timestamptz, latest timestamptz) RETURNS integer
LANGUAGE plpgsql SET timezone TO 'UTC' SET client_min_messages TO 'warning' AS $$
DECLARE
    month date := date_trunc('month', earliest)::date;
    made integer := 0;
    name text;
BEGIN
    PERFORM pg_advisory_xact_lock(7305002);
    WHILE month <= latest LOOP
        name := 'events_' || to_char(month, 'YYYY_MM');
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I (LIKE events INCLUDING ALL)', name);
            EXECUTE format(
                'ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                name, month::timestamptz, (month + interval '1 month')::timestamptz
            );
            made := made + 1;
        END IF;
        month := month + interval '1 month';
    END LOOP;
    RETURN made;
END $$;
SELECT ensure_event_partitions(now() - interval '1 month', now() + interval '2 months');

-- One row per trained bundle that was written; the bundle itself is a folder.
CREATE TABLE models (
    id text PRIMARY KEY,
    kind text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    digest text NOT NULL,
    evaluation jsonb NOT NULL,
    registry_version text  -- MLflow's, where it is configured
);

-- Which bundle serves. A row changes only together with a row of `decisions`.
CREATE TABLE serving (
    slot text PRIMARY KEY,
    bundle text NOT NULL REFERENCES models,
    share real NOT NULL DEFAULT 1 CHECK (share > 0 AND share <= 1),
    generation bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    decided_at timestamptz NOT NULL DEFAULT now(),
    action text NOT NULL CHECK (action IN ('PROMOTED', 'REFUSED', 'ROLLED_BACK')),
    slot text NOT NULL,
    bundle text NOT NULL REFERENCES models,
    previous text REFERENCES models,
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{}',
    decided_by text NOT NULL
);

CREATE TABLE training_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED')),
    reason text NOT NULL,
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    lease_until timestamptz,
    fencing_token bigint NOT NULL DEFAULT 0,  -- grows with every lease: a worker whose lease ran out is refused
    bundle text REFERENCES models,
    error text
);

CREATE TABLE oauth_clients (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 128),
    secret_hash text,  -- argon2; null for a public client
    grants text[] NOT NULL,
    scopes text[] NOT NULL,
    redirect_uris text[] NOT NULL DEFAULT '{}',
    origins text[] NOT NULL DEFAULT '{}',
    access_ttl integer CHECK (access_ttl BETWEEN 60 AND 86400),
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

CREATE TABLE oauth_keys (
    kid text PRIMARY KEY,
    sealed text NOT NULL,  -- the private key as a JWE under the gateway's secret
    public jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    retired_at timestamptz
);

CREATE TABLE oauth_revocations (
    jti text PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- Batches that the broker did not take; they are sent later under the same ids.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id uuid NOT NULL UNIQUE,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The progress of a file, committed together with its events, so that a killed load continues where it stopped.
CREATE TABLE loads (
    id text PRIMARY KEY,  -- a digest of the file's ends, its size and how it is read
    file text NOT NULL,
    lines bigint NOT NULL DEFAULT 0,
    stored bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
