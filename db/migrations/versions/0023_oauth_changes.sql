-- What gateways keep of the OAuth tables in memory, and that it changed: they read what is new here, every two seconds.
-- Triggers write it, so that what the release before changes is seen too.
CREATE TABLE oauth_changes (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_in bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,  -- the transaction: see db/oauth_changes.py
    changed_at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,
    id text NOT NULL DEFAULT ''  -- of a token or a family that was revoked
);
CREATE INDEX oauth_changes_in ON oauth_changes (changed_in);
CREATE INDEX oauth_changes_at ON oauth_changes (changed_at);

CREATE FUNCTION note_oauth_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oauth_changes (kind) VALUES (TG_ARGV[0]);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_revoked_token() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oauth_changes (kind, id) VALUES ('token', NEW.jti);
    RETURN NULL;
END
$$;
CREATE FUNCTION note_revoked_family() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO oauth_changes (kind, id) VALUES ('family', NEW.id);
    RETURN NULL;
END
$$;

CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON oauth_clients
    FOR EACH STATEMENT EXECUTE FUNCTION note_oauth_change('clients');
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON oauth_keys
    FOR EACH STATEMENT EXECUTE FUNCTION note_oauth_change('keys');
CREATE TRIGGER note_change AFTER INSERT OR UPDATE OR DELETE ON oauth_issuers
    FOR EACH STATEMENT EXECUTE FUNCTION note_oauth_change('issuers');
CREATE TRIGGER note_revoked AFTER INSERT ON oauth_revocations
    FOR EACH ROW EXECUTE FUNCTION note_revoked_token();
CREATE TRIGGER note_revoked AFTER UPDATE OF revoked_at ON oauth_families
    FOR EACH ROW WHEN (OLD.revoked_at IS NULL AND NEW.revoked_at IS NOT NULL AND NEW.tokens_until IS NOT NULL)
    EXECUTE FUNCTION note_revoked_family();

-- The family of a revoked access token, so that one person cannot use up the revocations of a client.
ALTER TABLE oauth_revocations ADD COLUMN family_id text;
CREATE INDEX oauth_revocations_family ON oauth_revocations (family_id) WHERE family_id IS NOT NULL;
