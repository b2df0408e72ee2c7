-- The generation of the forecast's serving row that MLflow mirrors, beside that of the model of the lists.
ALTER TABLE mlflow_mirror ADD COLUMN forecast_generation bigint;
