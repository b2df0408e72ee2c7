-- A client may have a rate and a daily quota of its own.
ALTER TABLE oauth_clients
    ADD COLUMN rate text,  -- as 6000/minute, or off; NULL: the default of the settings
    ADD COLUMN daily_quota bigint CHECK (daily_quota > 0);  -- units of a UTC day; NULL: none
