"""The contents of an affinity bundle, and the model that serves from it."""

from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.contract import EventType
from ml import bundle
from ml.affinity.chances import Chance
from ml.affinity.network import Network
from ml.affinity.pair_features import FEATURES
from ml.affinity.ranking import Ranker
from ml.bundle import RETRAIN, Bundle, BundleRefused, Reading
from ml.cold_items import ColdItems
from ml.sequence.blending import SequenceBlend
from ml.universe import COLUMNS, Universe

KIND = "affinity"
_ARRAYS = {field.name for field in fields(Universe)} - {"sequence", "cold"}
_NAMES = {"features": list(FEATURES), "columns": list(COLUMNS)}


@dataclass(frozen=True, eq=False)
class AffinityModel(Ranker):
    """A trained model as it serves; its arrays are memory-mapped and shared between processes."""

    id: str
    created_at: datetime
    digest: str
    item_ids: list[str]  # of universe.numbers, in order
    rfm_edges: NDArray[np.float64]  # (3, 4), for ml.rfm.score
    evaluation: dict[str, Any]
    training: dict[str, Any]  # seed, settings, code and data; empty in bundles of earlier versions
    reading: Reading | None  # its files are not deleted while this object lives

    @property
    def numbers(self) -> NDArray[np.uint32]:
        """(n,) catalogue numbers of the items it can rank."""
        return self.universe.numbers

    @property
    def popular(self) -> NDArray[np.uint32]:
        """(n,) catalogue numbers, most bought first."""
        return self.universe.popular_numbers

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a bundle of this kind. Raises `BundleRefused` naming what is wrong."""
        opened = Bundle.open(path)
        if opened.kind != KIND:
            raise BundleRefused(f"bundle {opened.id}: its kind is {opened.kind!r}, this model's is {KIND!r}")
        if opened.json("names") != _NAMES:
            raise BundleRefused(f"bundle {opened.id}: made for other features than this version computes: {RETRAIN}")
        model = cls(
            universe=_universe(opened),
            network=_network(opened),
            id=opened.id,
            created_at=opened.created_at,
            digest=opened.digest,
            item_ids=opened.json("items"),
            rfm_edges=opened.array("rfm_edges"),
            evaluation=opened.object("evaluation"),
            training=opened.object("training") if "training" in opened.parts else {},
            reading=opened.reading,
            chance=_chance(opened),
        )
        try:
            fits, finite = _fits(model), _is_finite(model.network)
        except (IndexError, TypeError):  # of arrays with fewer dimensions, or of something else than numbers
            fits, finite = False, True
        if not fits:
            raise BundleRefused(f"bundle {model.id}: its arrays do not fit together")
        if not finite:
            raise BundleRefused(f"bundle {model.id}: its weights are not numbers")
        return model


def write(
    folder: Path,
    universe: Universe,
    network: Network,
    *,
    item_ids: list[str],
    rfm_edges: NDArray[np.float64],
    evaluation: dict[str, Any],
    created_at: datetime,
    training: dict[str, Any] | None = None,
    chance: Chance | None = None,
) -> Path:
    """Write a bundle of this kind below `folder` and return its path, whose name is the bundle's id."""
    parts = {
        **{name: part for name in _ARRAYS if (part := getattr(universe, name)) is not None},
        **({} if universe.sequence is None else universe.sequence.parts()),
        **({} if universe.cold is None else universe.cold.parts()),
        **{f"kernel_{index}": kernel for index, kernel in enumerate(network.kernels)},
        **{f"bias_{index}": bias for index, bias in enumerate(network.biases)},
        "rfm_edges": rfm_edges,
        "items": item_ids,
        "evaluation": evaluation,
        "names": _NAMES,
        **({} if training is None else {"training": training}),
        **({} if chance is None else {"chance": chance.document()}),
    }
    return bundle.write(folder, KIND, parts, created_at)


def _universe(opened: Bundle) -> Universe:
    """The universe; a bundle of an earlier release lacks some of the parts that may be None."""
    optional = {field.name for field in fields(Universe) if field.default is None}
    names = _ARRAYS - (optional - set(opened.parts))
    sequence = SequenceBlend.read(opened) if SequenceBlend.is_in(opened) else None
    cold = ColdItems.read(opened) if ColdItems.is_in(opened) else None
    return Universe(**{name: opened.array(name) for name in names}, sequence=sequence, cold=cold)


def _network(opened: Bundle) -> Network:
    layers = range(sum(name.startswith("kernel_") for name in opened.parts))
    return Network(
        kernels=tuple(opened.array(f"kernel_{index}") for index in layers),
        biases=tuple(opened.array(f"bias_{index}") for index in layers),
    )


def _chance(opened: Bundle) -> Chance | None:
    if "chance" not in opened.parts:
        return None
    try:
        return Chance.read(opened.json("chance"))
    except (KeyError, TypeError, ValueError) as error:
        raise BundleRefused(f"bundle {opened.id}: its part 'chance' is not as expected ({error!r})") from error


def _fits(model: AffinityModel) -> bool:
    """Whether the shapes of the arrays agree with each other."""
    universe, n = model.universe, len(model.numbers)
    return (
        len(model.item_ids) == n
        and universe.numbers.shape == universe.popular.shape == (n,)
        and universe.columns.shape == (n + 1, len(COLUMNS))
        and (universe.rebought is None or universe.rebought.shape == (n + 1,))
        and all(each is None or each.shape == (1,) for each in (universe.fade, universe.first_share))
        and _fit_together(universe.together, universe.together_score, n)
        and (universe.sequence is None or universe.sequence.items == n)
        and (universe.cold is None or universe.cold.items == n)
        and _fit_together(universe.ease, universe.ease_score, n)
        and _fit_together(universe.then, universe.then_score, n)
        and (universe.interest is None or universe.interest.shape == (3, len(EventType)))
        and (universe.category is None or universe.category.shape == (n + 1,))
        and universe.rest.shape == (n + 1,)
        and _fit_together(universe.near, universe.near_score, n)
        and _fit_together(universe.next, universe.next_score, n)
        and len(model.network.kernels) == len(model.network.biases) > 0
        and all(bias.ndim == 1 for bias in model.network.biases)
        and model.network.kernels[0].shape[0] == len(FEATURES)
        and model.rfm_edges.shape == (3, 4)
    )


def _is_finite(network: Network) -> bool:
    return all(np.isfinite(each).all() for each in (*network.kernels, *network.biases))


def _fit_together(rows: NDArray[np.int32] | None, scores: NDArray[np.float32] | None, n: int) -> bool:
    if rows is None or scores is None:
        return rows is None and scores is None
    return rows.ndim == 2 and rows.shape == scores.shape and len(rows) == n + 1
