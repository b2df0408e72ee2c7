-- Seed, settings, code version and data identity of the training; empty for models that were registered before.
ALTER TABLE models ADD COLUMN training jsonb NOT NULL DEFAULT '{}';

-- When the files of the bundle were deleted, because it was old; null while they are there.
ALTER TABLE models ADD COLUMN pruned_at timestamptz;

-- How many leases were returned because the trainer was told to end: they do not count as attempts.
ALTER TABLE training_jobs ADD COLUMN stops integer NOT NULL DEFAULT 0;
