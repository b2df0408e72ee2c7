-- Foreign issuers: identity providers of the shop whose access tokens are accepted as tokens of one person.
CREATE TABLE oauth_issuers (
    url text PRIMARY KEY,  -- exactly the claim `iss` of its tokens
    audience text NOT NULL,
    subject_claim text NOT NULL,  -- the claim that is the shop's user id
    scopes text[] NOT NULL,
    algorithms text[] NOT NULL,
    scope_claim text,  -- when set, a token has only those scopes that this claim lists too
    jwks_url text,  -- null: found by the issuer's metadata
    client_id text REFERENCES oauth_clients (id),  -- whose limits and namespace its people share; null: the url
    created_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);
