-- What each load named, so that it can be taken back. Loads of releases before have neither kind nor manifest.
ALTER TABLE loads
    ADD COLUMN kind text,      -- items, users or events
    ADD COLUMN manifest text,  -- the address below which the Parquet files are
    ADD COLUMN undo_began_at timestamptz,
    ADD COLUMN undone_at timestamptz,
    ADD COLUMN taken_back bigint NOT NULL DEFAULT 0;  -- events that an undo deleted
