-- People who sign in with a password. A user has at most one account.
CREATE TABLE oauth_accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login_key text NOT NULL UNIQUE CHECK (length(login_key) BETWEEN 1 AND 256),  -- NFKC without case: what is compared
    login text NOT NULL CHECK (length(login) BETWEEN 1 AND 256),  -- as it was given: what is shown
    user_id text NOT NULL UNIQUE CHECK (length(user_id) BETWEEN 1 AND 128),
    password_hash text NOT NULL,  -- argon2id
    created_at timestamptz NOT NULL DEFAULT now(),
    password_set_at timestamptz NOT NULL DEFAULT now(),
    disabled_at timestamptz
);

-- Browsers in which somebody is signed in.
CREATE TABLE oauth_sessions (
    id_hash bytea PRIMARY KEY,  -- SHA-256 of the cookie
    account bigint NOT NULL REFERENCES oauth_accounts ON DELETE CASCADE,
    auth_time timestamptz NOT NULL,  -- when the password was entered
    used_at timestamptz NOT NULL
);
CREATE INDEX oauth_sessions_account ON oauth_sessions (account, auth_time);
CREATE INDEX oauth_sessions_auth_time ON oauth_sessions (auth_time);

-- What people let a client do.
CREATE TABLE oauth_consents (
    account bigint NOT NULL REFERENCES oauth_accounts ON DELETE CASCADE,
    client_id text NOT NULL REFERENCES oauth_clients ON DELETE CASCADE,
    scopes text[] NOT NULL,
    given_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, client_id)
);

-- From where people signed in before, as keyed hashes.
CREATE TABLE oauth_familiar_addresses (
    account bigint NOT NULL REFERENCES oauth_accounts ON DELETE CASCADE,
    address bytea NOT NULL,
    signed_in_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, address)
);

-- Wrong passwords by login name, by address and by both. The keys are keyed hashes.
CREATE TABLE oauth_password_failures (
    key bytea PRIMARY KEY,
    since timestamptz NOT NULL,  -- when the window began
    failures integer NOT NULL
);
CREATE INDEX oauth_password_failures_since ON oauth_password_failures (since);
