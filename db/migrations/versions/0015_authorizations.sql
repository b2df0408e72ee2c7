-- What a client may register for the authorization code flow. `token_ttl` replaces `access_ttl`, whose least is 60.
ALTER TABLE oauth_clients
    ADD COLUMN name text CHECK (length(name) BETWEEN 1 AND 80),  -- shown to people; null: the id is
    ADD COLUMN first_party boolean NOT NULL DEFAULT false,  -- the shop's own app: people are not asked for consent
    ADD COLUMN post_logout_redirect_uris text[] NOT NULL DEFAULT '{}',
    ADD COLUMN jwks jsonb,  -- the public keys of a client that authenticates with private_key_jwt
    ADD COLUMN token_ttl integer CHECK (token_ttl BETWEEN 5 AND 86400);  -- seconds

-- A family: one approval by a person, with the code and all tokens that come from it. They are revoked together.
-- Of a code or a refresh token only the SHA-256 is stored.
CREATE TABLE oauth_families (
    id text PRIMARY KEY,  -- the claim `sid` of its tokens
    client_id text NOT NULL REFERENCES oauth_clients,
    user_id text,  -- null: the person was erased
    scopes text[] NOT NULL,
    auth_time timestamptz NOT NULL,  -- when the person gave their password
    created_at timestamptz NOT NULL DEFAULT now(),
    redirect_uri text NOT NULL,
    nonce text,
    code_challenge text NOT NULL,
    code_hash bytea NOT NULL UNIQUE,
    code_expires_at timestamptz NOT NULL,
    code_used_at timestamptz,
    refresh_handle bytea UNIQUE,  -- of the first part of a refresh token, which all of the family share
    refresh_hash bytea,  -- of the one refresh token that is valid
    refresh_issued_at timestamptz,
    refresh_idle_at timestamptz,  -- when it ends, if it is not used before
    refresh_ends_at timestamptz,  -- when the last one of the family ends
    tokens_until timestamptz,  -- when the last access token that was issued expires
    revoked_at timestamptz,
    kept_until timestamptz NOT NULL  -- when nothing of the family can be valid any more, and the row may go
);
CREATE INDEX oauth_families_user ON oauth_families (user_id);
CREATE INDEX oauth_families_kept ON oauth_families (kept_until);
CREATE INDEX oauth_families_revoked ON oauth_families (tokens_until) WHERE revoked_at IS NOT NULL;

-- Whose tokens were revoked, so that one client cannot fill the table.
ALTER TABLE oauth_revocations ADD COLUMN client_id text;
CREATE INDEX oauth_revocations_client ON oauth_revocations (client_id, expires_at);
CREATE INDEX oauth_revocations_expires ON oauth_revocations (expires_at);

-- Client assertions (private_key_jwt) that were used, until they expire: each counts once.
CREATE TABLE oauth_assertions (
    client_id text NOT NULL,
    jti_hash bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, jti_hash)
);
CREATE INDEX oauth_assertions_expires ON oauth_assertions (expires_at);
