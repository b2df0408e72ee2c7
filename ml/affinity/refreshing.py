"""A model with tables as of now: weights, calibration and evaluation stay as they were tested, all else is rebuilt.

Tables are neighbours, rules, popularity, known items, item columns, complements and the edges of RFM scores. Those of a
training are as of its cut: what was first sold after it would be no candidate.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.affinity import model
from ml.affinity.baseline_networks import baseline_universe
from ml.affinity.model import AffinityModel
from ml.affinity.ranking import Ranker
from ml.clockless import is_clockless
from ml.interest import Interest
from ml.log import Log, NothingToLearn
from ml.provenance import data_identity
from ml.rfm import rfm_edges
from ml.snapshot import snapshot, with_complements
from ml.texts.learning import as_of_now
from ml.texts.likeness import Support
from ml.universe import Universe

ITEM_LIMIT = 10_000  # of a model that does not say with how many items it was trained


@dataclass(frozen=True, eq=False)
class RefreshedAffinity(Ranker):
    """A model with refreshed tables, ready to be written as a bundle of its own."""

    item_ids: list[str]
    rfm_edges: NDArray[np.float64]
    evaluation: dict[str, Any]  # of the model whose weights these are
    training: dict[str, Any]

    def write(self, folder: Path, created_at: datetime) -> Path:
        """Write the bundle below `folder`. Raises `BundleRefused` if it could not serve."""
        path = model.write(
            folder,
            self.universe,
            self.network,
            item_ids=self.item_ids,
            rfm_edges=self.rfm_edges,
            evaluation=self.evaluation,
            created_at=created_at,
            training=self.training,
            chance=self.chance,
        )
        AffinityModel.open(path)
        return path


def refreshed(bundle: AffinityModel, log: Log, as_of: int) -> RefreshedAffinity:
    """The same model with tables from the lines before a second. Raises `NothingToLearn` when there are none.

    They are as of the last of these lines: in an old log nothing was bought lately, and all would be equally popular.
    """
    past = log.between(None, as_of)
    if not len(past):
        raise NothingToLearn("There are no purchases: the tables stay as they are.")
    as_of = min(as_of, int(past.occurred.max()) + 1)
    settings = bundle.training.get("settings", {})
    support = Support.of(past, settings.get("item_limit", ITEM_LIMIT))
    numbers = np.sort(support.known)
    clockless = is_clockless(past)
    cold = as_of_now(bundle.universe.cold, past.words, numbers, support)
    past = past.of_items(numbers)
    universe = as_of_cut(bundle, past, snapshot(past, numbers, as_of, clockless=clockless)).universe
    universe = with_complements(universe, past, as_of).with_cold(cold)
    id_of = dict(zip(log.numbers.tolist(), log.item_ids, strict=True))
    tables = {
        "refreshed_from": bundle.training.get("refreshed_from", bundle.id),
        "refreshed_as_of": datetime.fromtimestamp(as_of, UTC).isoformat(),
        "refreshed_data": data_identity(log, as_of),
        "knows_words": cold is not None,  # so that items nobody bought yet are candidates
    }
    return RefreshedAffinity(
        universe,
        bundle.network,
        [id_of[number] for number in numbers.tolist()],
        rfm_edges(past, as_of),
        bundle.evaluation,
        bundle.training | tables,
        chance=bundle.chance,
    )


def as_of_cut(bundle: AffinityModel, past: Log, universe: Universe, support: Support | None = None) -> Ranker:
    """The model as it serves with the tables of this universe, which is computed from the lines `past`.

    With the support of all items the model has its cold items, too.
    """
    if support is not None:
        cold = as_of_now(bundle.universe.cold, past.words, universe.numbers, support, alternatives=False)
        universe = universe.with_cold(cold)
    baseline, ranker = bundle.evaluation.get("baseline"), with_tables(bundle, universe)
    return replace(ranker, universe=baseline_universe(baseline, past, ranker.universe)) if baseline else ranker


def with_tables(ranker: Ranker, universe: Universe) -> Ranker:
    """A ranker with the tables of another universe.

    Its sequence net is part of its weights: it goes on, for the items of this universe. So do views: those of a type
    that its network has not learned of go on to lift what is near to them.
    """
    net = ranker.universe.sequence
    now, then = (Interest.read(each.interest) for each in (universe, ranker.universe))
    interest = replace(now, learned=now.learned & then.learned).table
    universe = replace(universe, sequence=net and net.of(ranker.universe.rows(universe.numbers)), interest=interest)
    return Ranker(universe, ranker.network, chance=ranker.chance)
