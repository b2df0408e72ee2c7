"""How well next baskets are foretold: the serving ranker and the baselines, on the same people, over all items."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baselines import BASELINES, MANDATORY
from ml.baskets import Baskets, first_baskets
from ml.lists import everybody
from ml.log import Log
from ml.metrics import coverage, hit_rate, interval, ndcg, recall, reciprocal_rank
from ml.network import Network
from ml.ranking import rank_with
from ml.universe import Universe

RANKER = "ranker"


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over people with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """What was measured, on whom, against what."""

    cut: int  # seconds
    people: int
    items: int
    basket: float  # mean distinct items in what was foretold
    methods: dict[str, dict[str, Score]]  # method -> metric -> score
    ahead: dict[str, Score]  # mandatory baseline -> the ranker's NDCG@10 above it, paired by person

    @property
    def better(self) -> bool:
        """Whether the ranker is better on average than each mandatory baseline."""
        return all(score.value > 0 for score in self.ahead.values())

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON, with its protocol in words."""
        protocol = (
            "first order after the cut of each person with an earlier one; items are the best supported before the"
            " cut, orders seen through them; every one of them is ranked; what was bought too lately to be wanted"
            " again is left out of the ranker's list; 95 % bootstrap intervals over people"
        )
        return {"protocol": protocol, "cut_at": datetime.fromtimestamp(self.cut, UTC).isoformat(), **asdict(self)}


def evaluate(
    log: Log, universe: Universe, network: Network, cut: int, seed: int, report: Callable[[int, int], None]
) -> Evaluation:
    """Rank every person's items as of the cut and compare with the first order after it.

    `log` holds lines before and after the cut; only those after it are looked at for the truth, only those before it
    for the ranking.
    """
    log = log.of_items(universe.numbers)
    baskets = first_baskets(log, cut)
    known = baskets.of(np.unique(log.between(None, cut).person))
    lists: dict[str, list[NDArray[np.uint32]]] = {name: [] for name in (RANKER, *BASELINES)}
    for index, person in enumerate(known.people.tolist()):
        for name, ranked in _all_lists(log, universe, network, person, cut).items():
            lists[name].append(ranked)
        report(index + 1, len(known))
    values = {name: _values(ranked, known) for name, ranked in lists.items()}
    methods = {
        name: {metric: _score(column, seed) for metric, column in values[name].items()}
        | {"coverage_at_10": _alone(coverage([ranked[:10] for ranked in lists[name]], len(universe.numbers)))}
        for name in lists
    }
    ours = values[RANKER]["ndcg_at_10"]
    ahead = {name: _score(ours - values[name]["ndcg_at_10"], seed) for name in MANDATORY}
    basket = len(known.items) / max(len(known), 1)
    return Evaluation(cut, len(known), len(universe.numbers), basket, methods, ahead)


def _all_lists(log: Log, universe: Universe, network: Network, person: int, cut: int) -> dict[str, NDArray[np.uint32]]:
    """Every item of the universe, best first, by each method; resting items are missing from the ranker's."""
    state = log.state(person, cut)
    popular = universe.numbers[universe.popular]
    ranked = rank_with(
        universe,
        network,
        state,
        as_of=cut,
        allowed=everybody(universe.numbers),
        context=np.empty(0, np.uint32),
        popular=popular,
        first=len(universe.numbers),
    )
    purchases = log.purchases(person, cut)
    return {RANKER: ranked.numbers} | {
        name: universe.numbers[baseline(universe, purchases, cut)] for name, baseline in BASELINES.items()
    }


def _values(lists: list[NDArray[np.uint32]], baskets: Baskets) -> dict[str, NDArray[np.float64]]:
    hits = [np.isin(ranked, baskets[index]) for index, ranked in enumerate(lists)]
    sizes = np.diff(baskets.starts).tolist()
    return {
        "ndcg_at_10": np.array([ndcg(hit, size) for hit, size in zip(hits, sizes, strict=True)]),
        "recall_at_10": np.array([recall(hit, size) for hit, size in zip(hits, sizes, strict=True)]),
        "hit_rate_at_10": np.array([hit_rate(hit) for hit in hits]),
        "mrr": np.array([reciprocal_rank(hit) for hit in hits]),
    }


def _score(values: NDArray[np.float64], seed: int) -> Score:
    low, high = interval(values, seed)
    return Score(float(values.mean()) if len(values) else 0.0, low, high)


def _alone(value: float) -> Score:
    return Score(value, value, value)
