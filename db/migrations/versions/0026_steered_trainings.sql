-- How far a training is: {"stage", "done", "of"}; and who cancelled the job: its state is FAILED then.
ALTER TABLE training_jobs
    ADD COLUMN progress jsonb,
    ADD COLUMN cancelled_by text;

-- Whether MLflow mirrors what is registered and serves. One row, once a trainer has MLflow.
CREATE TABLE mlflow_mirror (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    generation bigint,  -- of the serving row that the aliases mirror; null where nothing served
    asked_at timestamptz  -- when a trainer was last asked to mirror
);
