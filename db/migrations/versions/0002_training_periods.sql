ALTER TABLE training_jobs ADD COLUMN period text;  -- the day a scheduled training is for; null for a requested one
CREATE UNIQUE INDEX training_jobs_period ON training_jobs (kind, period);
