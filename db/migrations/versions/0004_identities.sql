-- Guests who became users. Until `settled_at` is set, late events of the guest are assigned to the user.
CREATE TABLE identities (
    anonymous_id text PRIMARY KEY,
    user_id text NOT NULL,
    identified_at timestamptz NOT NULL DEFAULT now(),
    identified_by text NOT NULL,  -- the client
    settled_at timestamptz
);
CREATE INDEX identities_of_user ON identities (user_id);
CREATE INDEX identities_unsettled ON identities (identified_at) WHERE settled_at IS NULL;
