"""The contents of a forecast bundle, and the model that serves from it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml import bundle
from ml.affinity.network import Network
from ml.bundle import RETRAIN, Bundle, BundleRefused, Reading
from ml.hazard.examples import BINS, Floats
from ml.hazard.features import FEATURES, person_features
from ml.state import State

KIND = "forecast"
_NAMES = {"features": list(FEATURES), "bins": BINS}


@dataclass(frozen=True, eq=False)
class Forecaster:
    """Weekly hazards of people. Features are limited to what training saw: a net says nothing of what is beyond."""

    network: Network
    lowest: Floats  # (FEATURES,) that training saw
    highest: Floats  # (FEATURES,)
    typical: Floats  # (FEATURES,) their means: the person that others are compared with

    def logits(self, features: Floats) -> Floats:
        """(people, FEATURES) -> (people, BINS)."""
        return self.network.outputs(np.clip(features, self.lowest, self.highest))


@dataclass(frozen=True, eq=False)
class ForecastModel(Forecaster):
    """A forecaster as it serves; its arrays are memory-mapped and shared between processes."""

    id: str
    created_at: datetime
    digest: str
    evaluation: dict[str, Any]
    training: dict[str, Any]
    reading: Reading | None  # its files are not deleted while this object lives

    def features(self, state: State, as_of: int) -> Floats:
        """(1, FEATURES) of a person who ordered before."""
        return person_features([state], as_of)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a bundle of this kind. Raises `BundleRefused` naming what is wrong."""
        opened = Bundle.open(path)
        if opened.kind != KIND:
            raise BundleRefused(f"bundle {opened.id}: its kind is {opened.kind!r}, this model's is {KIND!r}")
        if opened.json("names") != _NAMES:
            raise BundleRefused(f"bundle {opened.id}: made for other features than this version computes: {RETRAIN}")
        layers = range(sum(name.startswith("kernel_") for name in opened.parts))
        model = cls(
            network=Network(
                tuple(opened.array(f"kernel_{index}") for index in layers),
                tuple(opened.array(f"bias_{index}") for index in layers),
            ),
            lowest=opened.array("lowest"),
            highest=opened.array("highest"),
            typical=opened.array("typical"),
            id=opened.id,
            created_at=opened.created_at,
            digest=opened.digest,
            evaluation=opened.object("evaluation"),
            training=opened.object("training"),
            reading=opened.reading,
        )
        if not _fits(model):
            raise BundleRefused(f"bundle {model.id}: its arrays do not fit together")
        return model


def write(
    folder: Path, forecaster: Forecaster, *, evaluation: dict[str, Any], training: dict[str, Any], created_at: datetime
) -> Path:
    """Write a bundle of this kind below `folder` and return its path, whose name is the bundle's id."""
    network = forecaster.network
    parts = {
        **{f"kernel_{index}": kernel for index, kernel in enumerate(network.kernels)},
        **{f"bias_{index}": bias for index, bias in enumerate(network.biases)},
        "lowest": forecaster.lowest,
        "highest": forecaster.highest,
        "typical": forecaster.typical,
        "evaluation": evaluation,
        "training": training,
        "names": _NAMES,
    }
    return bundle.write(folder, KIND, parts, created_at)


def _fits(model: ForecastModel) -> bool:
    network = model.network
    ranges: tuple[NDArray[Any], ...] = (model.lowest, model.highest, model.typical)
    arrays = (*network.kernels, *network.biases, *ranges)
    return (
        len(network.kernels) == len(network.biases) > 0
        and network.kernels[0].shape[0] == len(FEATURES)
        and network.kernels[-1].shape[-1] == network.biases[-1].shape[0] == BINS
        and all(each.shape == (len(FEATURES),) for each in ranges)
        and all(np.isfinite(each).all() for each in arrays)
    )
