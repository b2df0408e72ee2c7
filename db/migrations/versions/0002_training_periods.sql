ALTER TABLE training_jobs ADD COLUMN period text;  -- the day a scheduled training is for; null when somebody asked
CREATE UNIQUE INDEX training_jobs_period ON training_jobs (kind, period);
