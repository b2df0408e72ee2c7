"""MLflow's model registry, where one is configured. Which model serves is decided in Postgres, not here."""

import logging
import warnings
from pathlib import Path
from typing import Any

NAME = "penchant-affinity"
CHAMPION = "champion"


class Registry:
    """A client of MLflow's tracking store and registry; making one takes seconds."""

    def __init__(self, url: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow, not of our code
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=_driver(url), registry_uri=_driver(url))

    def register(self, bundle_id: str, path: Path, evaluation: dict[str, Any]) -> str:
        """Register a written bundle and its metrics as a new version of the model; returns the version."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._client.get_experiment_by_name(NAME)
            experiment = found.experiment_id if found else self._client.create_experiment(NAME)
            run = self._client.create_run(experiment, run_name=bundle_id).info.run_id
            for method, scores in evaluation["methods"].items():
                for metric, score in scores.items():
                    self._client.log_metric(run, f"{method}.{metric}", score["value"])
            self._client.set_terminated(run)
            if not self._client.search_registered_models(f"name = '{NAME}'"):
                self._client.create_registered_model(NAME)
            version = self._client.create_model_version(NAME, str(path), run, tags={"bundle": bundle_id})
            return str(version.version)

    def set_champion(self, version: str) -> None:
        """Give the alias `champion` to this version."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client.set_registered_model_alias(NAME, CHAMPION, version)


def _driver(url: str) -> str:
    """The address with the name of the installed Postgres driver."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)
