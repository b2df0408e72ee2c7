-- Run once, when the volume is new: MLflow's tables would collide with ours.
CREATE DATABASE mlflow;
