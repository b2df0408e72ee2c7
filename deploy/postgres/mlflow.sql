-- Runs once, on a new volume. MLflow needs its own database: its table names collide with ours.
CREATE DATABASE mlflow;
