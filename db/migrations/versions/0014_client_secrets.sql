-- A client whose secret is changed may use the secret before for a while.
ALTER TABLE oauth_clients
    ADD COLUMN previous_hash text,  -- argon2, as secret_hash
    ADD COLUMN previous_until timestamptz;
