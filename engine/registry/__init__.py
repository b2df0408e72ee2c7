"""MLflow shows the models to data people: a mirror of what Postgres says."""
