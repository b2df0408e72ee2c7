"""How well the next baskets are predicted: named methods, on the same people as of their visits, over all items."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baskets import Baskets, first_baskets
from ml.log import Log
from ml.metrics import coverage, hit_rate, interval, ndcg, recall, reciprocal_rank
from ml.state import Table

# (the person's events before a second as EVENT, that second) -> catalogue numbers of all items, best first
Method = Callable[[Table, int], NDArray[np.uint32]]


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over people with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """The results, the number of people, and the baselines."""

    cut: int  # seconds
    people: int
    items: int
    basket: float  # mean distinct items of a basket
    methods: dict[str, dict[str, Score]]  # method -> metric -> score
    ahead: dict[str, Score]  # baseline -> the candidate's NDCG@10 above it, paired by person
    candidate: str  # the method that may be promoted
    tied: float = 0.0  # mean share of the candidate's first ten scores that equal another one there
    baseline: str | None = None  # the baseline that the candidate is; None for a trained model

    @property
    def best_baseline(self) -> str:
        """The baseline with the highest NDCG@10; of equal ones the first, which is the simplest."""
        return max(self.ahead, key=lambda name: self.methods[name]["ndcg_at_10"].value)

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON, with its protocol in words."""
        protocol = (
            "first order after the cut of each person with an earlier one, foretold as of the visit: the moment of that"
            " order, from the person's own events before it and, of everybody else, from nothing after the cut; items"
            " are the best supported before the cut, orders seen through them; every one of them is ranked; what was"
            f" bought too recently to be wanted again at the visit is left out of the {self.candidate}'s list; 95 %"
            " bootstrap intervals over people"
        )
        return {"protocol": protocol, "cut_at": datetime.fromtimestamp(self.cut, UTC).isoformat(), **asdict(self)}


def evaluate(
    log: Log,
    numbers: NDArray[np.uint32],
    cut: int,
    methods: Mapping[str, Method],
    *,
    candidate: str,
    baselines: Collection[str],
    seed: int,
    report: Callable[[int, int], None],
    tied: float = 0.0,
) -> Evaluation:
    """Rank the items `numbers` for every person, and compare with the person's first order after the cut.

    Every list is made as of the visit, the moment of that order: the method sees the person's events before it. `log`
    holds lines before and after the cut; whatever else a method knows must be from before the cut.
    `candidate` and the `baselines`, the simplest first, are names of `methods`.
    """
    log = log.of_items(numbers)
    baskets = first_baskets(log, cut)
    known = baskets.of(np.unique(log.between(None, cut).kept.person))
    lists: dict[str, list[NDArray[np.uint32]]] = {name: [] for name in methods}
    for index, (person, visit) in enumerate(zip(known.people.tolist(), known.visits.tolist(), strict=True)):
        history = log.history(person, visit)
        for name, method in methods.items():
            lists[name].append(method(history, visit))
        report(index + 1, len(known))
    values = {name: _values(ranked, known) for name, ranked in lists.items()}
    scores = {
        name: {metric: _score(column, seed) for metric, column in values[name].items()}
        | {"coverage_at_10": _exact(coverage([ranked[:10] for ranked in lists[name]], len(numbers)))}
        for name in methods
    }
    ours = values[candidate]["ndcg_at_10"]
    ahead = {name: _score(ours - values[name]["ndcg_at_10"], seed) for name in baselines}
    basket = len(known.items) / max(len(known), 1)
    return Evaluation(cut, len(known), len(numbers), basket, scores, ahead, candidate, tied)


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


def _exact(value: float) -> Score:
    return Score(value, value, value)
