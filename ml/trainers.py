"""The trainers, by the kind of model they make; each is imported when it is looked up, and TensorFlow with it."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

from core.errors import InvalidInput
from ml.log import Log
from ml.quiet_import import quiet_import

ReportProgress = Callable[[str, int, int], None]  # (stage, done, of)

TRAINERS: Mapping[str, str] = {  # kind -> "module:function"
    "affinity": "ml.affinity.training:train",
    "forecast": "ml.hazard.training:train",
}


class Trained(Protocol):
    """The result of a training, ready to be written as a bundle."""

    @property
    def evaluation(self) -> Any:
        """Its metrics beside those of its baselines, in the form of its kind."""

    @property
    def training(self) -> dict[str, Any]:
        """Where it comes from: seed, settings, code, data, and the digest of its weights."""

    @property
    def parity(self) -> float:
        """The largest difference of a probability between the trained network and the exported one."""

    def best_baseline(self, report: ReportProgress) -> "Trained | None":
        """The best baseline of the evaluation, ready to serve where this model is refused; evaluated as it serves.

        None where no baseline is better than no answer.
        """

    def with_gate(self, gate: dict[str, Any]) -> "Trained":
        """The same with the verdict of the gate in its evaluation."""

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`; returns its path."""


class Trainer(Protocol):
    """Trains one kind of model."""

    def __call__(self, log: Log, cut: int | None, report: ReportProgress, *, rivals: Mapping[str, Any]) -> Trained:
        """Learn from the lines before the cut (seconds; None: the trainer's own), and evaluate.

        `rivals` are opened models of this kind by name: the evaluation compares with them too.
        """


class UnknownKind(InvalidInput):
    """There is no trainer for this kind of model."""


def trainer_for(kind: str) -> Trainer:
    """The trainer of a kind of model. Raises `UnknownKind` naming the known ones."""
    if kind not in TRAINERS:
        known = ", ".join(repr(name) for name in sorted(TRAINERS))
        raise UnknownKind(f"There is no trainer for the kind {kind!r}; known: {known}.", field="kind")
    module, function = TRAINERS[kind].split(":")
    return cast(Trainer, getattr(quiet_import(module), function))
