-- Jobs that write the lists of all users to a file; both are null for trainings.
ALTER TABLE training_jobs
    ADD COLUMN list_request jsonb,  -- what is written
    ADD COLUMN list_progress jsonb;  -- how far it is, and where the file is at the end
