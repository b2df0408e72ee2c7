"""MLflow's tracking store and model registry, where one is configured. Which model serves is decided in Postgres."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from db.lake.location import Lake

LONGEST: Final = 500  # characters of a parameter or tag, which every store takes
MOST_VERSIONS: Final = 1_000  # that are looked through
FOLDER: Final = "penchant"  # of the artifacts
PROXIED: Final = ("mlflow-artifacts:", "http:", "https:")  # artifacts that the MLflow server itself takes
_ENVIRONMENT: Final = {
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing is sent to MLflow's makers
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PGCONNECT_TIMEOUT": "5",
}


class Registry:
    """A client; making one takes seconds. A name is that of an experiment and of its registered model.

    `artifacts` is the address of the folder for reports, as fsspec reads it.
    """

    def __init__(self, url: str, artifacts: str | None = None) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._artifacts = artifacts and _as_uri(artifacts)
        with _quiet():
            from mlflow import MlflowClient
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 1  # by itself it tries for 100 seconds
            self._client = MlflowClient(tracking_uri=_driver(url), registry_uri=_driver(url))

    def versions(self, name: str) -> dict[str, str]:
        """The versions of a model's newest bundles, by bundle; of a bundle that was registered twice, the first."""
        with _quiet():
            found = self._client.search_model_versions(
                f"name = '{name}'", max_results=MOST_VERSIONS, order_by=["version_number DESC"]
            )
        return {each.tags["bundle"]: str(each.version) for each in found if "bundle" in each.tags}

    def register(
        self,
        name: str,
        bundle: str,
        *,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        tags: Mapping[str, Any],
        description: str,
        files: Mapping[str, str],
    ) -> str:
        """Register a bundle as a new version of the model, with a run that holds the rest; returns the version.

        `files` are the texts of its artifacts by name. What an interrupted attempt left is deleted.
        """
        from mlflow.entities import Metric, Param

        with _quiet():
            experiment = self._experiment(name)
            for left in self._client.search_runs([experiment], f"tags.bundle = '{bundle}'", max_results=10):
                self._client.delete_run(left.info.run_id)
            noted = {**tags, "bundle": bundle, "mlflow.note.content": description}
            run = self._client.create_run(experiment, run_name=bundle, tags=_texts(noted))
            now = run.info.start_time
            for part in _hundreds([Param(*pair) for pair in _texts(parameters).items()]):
                self._client.log_batch(run.info.run_id, params=part)
            for some in _hundreds([Metric(metric, value, now, 0) for metric, value in metrics.items()]):
                self._client.log_batch(run.info.run_id, metrics=some)
            self._write(run, files)
            self._client.set_terminated(run.info.run_id)
            if not self._client.search_registered_models(f"name = '{name}'"):
                self._client.create_registered_model(name)
            version = self._client.create_model_version(
                name, run.info.artifact_uri, run.info.run_id, tags={"bundle": bundle}, description=description
            )
            return str(version.version)

    def set_aliases(self, name: str, aliases: Mapping[str, str | None]) -> None:
        """Let each alias name this version; None: no version has it."""
        with _quiet():
            there = self._client.get_registered_model(name).aliases
            for alias, version in aliases.items():
                if version is not None and str(there.get(alias)) != version:
                    self._client.set_registered_model_alias(name, alias, version)
                elif version is None and alias in there:
                    self._client.delete_registered_model_alias(name, alias)

    def _experiment(self, name: str) -> str:
        """The experiment whose artifacts are at the address: where an experiment keeps them never changes."""
        found = self._client.get_experiment_by_name(name)
        if found is not None and self._artifacts not in (None, found.artifact_location):
            name = f"{name} {self._artifacts}"
            found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=self._artifacts))

    def _write(self, run: Any, files: Mapping[str, str]) -> None:
        """Write the artifacts, where an address for them is set or the MLflow server takes them."""
        place = run.info.artifact_uri
        if place.startswith(PROXIED):
            for name, text in files.items():
                self._client.log_text(run.info.run_id, text, f"{FOLDER}/{name}")
        elif self._artifacts is not None:
            parent, _, last = place.rpartition("/")
            folder = Lake.at(parent, last)
            for name, text in files.items():
                folder.write(FOLDER, name, text.encode())


def _hundreds(values: list[Any]) -> Iterator[list[Any]]:
    """At most a hundred at a time, as MLflow takes them."""
    return (values[at : at + 100] for at in range(0, len(values), 100))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value)[:LONGEST] for name, value in values.items()}


def _as_uri(artifacts: str) -> str:
    return (artifacts if "://" in artifacts else Path(artifacts).as_uri()).rstrip("/")


def _driver(url: str) -> str:
    """The address with the name of the installed Postgres driver."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of MLflow and its libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
