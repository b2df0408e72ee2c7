-- The definition of a segment: every version, the newest counts. Without settings the segment is deleted.
CREATE TABLE segment_versions (
    id text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    version integer NOT NULL CHECK (version > 0),
    settings jsonb,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text NOT NULL,
    reason text,
    change bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (id, version)
);
CREATE UNIQUE INDEX segment_versions_by_change ON segment_versions (change);

-- The release before knows no versions: what it saves or deletes gets one here. Where one was written first, nothing is added.
CREATE FUNCTION keep_segment_version() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    whose text := coalesce(NEW.id, OLD.id);
    wanted jsonb := CASE WHEN NEW.id IS NOT NULL THEN jsonb_build_object('name', NEW.name, 'where', NEW.definition) END;
    newest record;
BEGIN
    SELECT version, settings INTO newest FROM segment_versions WHERE id = whose ORDER BY version DESC LIMIT 1;
    IF newest.settings IS DISTINCT FROM wanted THEN
        INSERT INTO segment_versions (id, version, settings, changed_by)
        VALUES (whose, coalesce(newest.version, 0) + 1, wanted, coalesce(NEW.changed_by, OLD.changed_by));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER keep_segment_version AFTER INSERT OR UPDATE OF name, definition OR DELETE ON segments
    FOR EACH ROW EXECUTE FUNCTION keep_segment_version();

INSERT INTO segment_versions (id, version, settings, changed_at, changed_by)
SELECT id, 1, jsonb_build_object('name', name, 'where', definition), changed_at, changed_by FROM segments ORDER BY id;
