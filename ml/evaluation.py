"""How well the next baskets are predicted: named methods, on the same people as of their visits, over all items."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baskets import Baskets, beyond_carts, first_baskets
from ml.log import Log, order_counts
from ml.metrics import coverage, hit_rate, interval, ndcg, recall, reciprocal_rank
from ml.state import Table

# (the person's events before a second as EVENT, that second) -> catalogue numbers of all items, best first
Method = Callable[[Table, int], NDArray[np.uint32]]


NDCG = "ndcg_at_10"
METRICS = (NDCG, "recall_at_10", "hit_rate_at_10", "mrr")
AGAIN, FIRST_TIME = "ndcg_at_10_again", "ndcg_at_10_first_time"  # items that the person had bought, or never had
PEOPLE_LIMIT = 20_000  # that are evaluated


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
    rivals: dict[str, Score] = field(default_factory=dict)  # version that served -> the candidate's NDCG@10 above it
    gate: dict[str, Any] | None = None  # the verdict with its checks, see `ml.gate.Verdict.document`

    @property
    def best_baseline(self) -> str:
        """The baseline with the highest NDCG@10; of equal ones the first, which is the simplest."""
        return max(self.ahead, key=lambda name: self.methods[name]["ndcg_at_10"].value)

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON, with its protocol in words."""
        protocol = (
            "first order after the cut of each person with an earlier one, foretold as of the visit: the moment of that"
            " order, from the person's own events before it and, of everybody else, from nothing after the cut; items"
            " are the best supported before the cut, orders seen through them; every one of them is ranked; the tables"
            " of every method are as of the cut, so up to the whole test span old, while those that serve are rebuilt"
            " every day in the same way, with the same weights; what was"
            f" bought too recently to be wanted again at the visit is left out of the {self.candidate}'s list; 95 %"
            " bootstrap intervals over people"
        )
        return {"protocol": protocol, "cut_at": datetime.fromtimestamp(self.cut, UTC).isoformat(), **asdict(self)}


class Judged:
    """The lists of one method, in the order of the baskets: of each its metrics and its first ten items are kept."""

    def __init__(self, baskets: Baskets, again: NDArray[np.bool_], most: int) -> None:
        """`most` is the largest catalogue number that is ranked or was bought."""
        self._baskets, self._again = baskets, again
        self._bought = np.zeros(most + 1, np.bool_)  # by catalogue number; false but while a list is judged
        self._values: dict[str, list[float]] = {metric: [] for metric in (*METRICS, AGAIN, FIRST_TIME)}
        self.tops: list[NDArray[np.uint32]] = []  # (at most 10,) catalogue numbers of each list

    def append(self, ranked: NDArray[np.uint32]) -> None:
        """Judge the next list by the next basket."""
        index = len(self.tops)
        basket = self._baskets[index]
        again = self._again[self._baskets.starts[index] : self._baskets.starts[index + 1]]
        self._bought[basket] = True
        hits = self._bought[ranked]
        self._bought[basket] = False
        top = ranked[:10].copy()
        found = (ndcg(hits, len(basket)), recall(hits, len(basket)), hit_rate(hits), reciprocal_rank(hits))
        for metric, value in zip(METRICS, found, strict=True):
            self._values[metric].append(value)
        for metric, part in ((AGAIN, basket[again]), (FIRST_TIME, basket[~again])):
            self._values[metric].append(ndcg(np.isin(top, part), len(part)) if len(part) else np.nan)
        self.tops.append(top)

    def values(self, metric: str) -> NDArray[np.float64]:
        """(people,) one of METRICS, AGAIN or FIRST_TIME; NaN where a basket has no such item."""
        return np.array(self._values[metric], np.float64)


@dataclass(frozen=True, eq=False)
class Measured:
    """The judged lists of every method, for the same people."""

    cut: int  # seconds
    items: int
    baskets: Baskets  # one per person
    earlier: NDArray[np.int64]  # (people,) orders before the cut
    lists: dict[str, Judged]


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
    rivals: Collection[str] = (),
) -> Evaluation:
    """Rank the items `numbers` for every person, and compare with the person's first order after the cut.

    Every list is made as of the visit, the moment of that order: the method sees the person's events before it. `log`
    holds lines before and after the cut; whatever else a method knows must be from before the cut.
    `candidate`, the `baselines`, the simplest first, and the `rivals`, versions that served, are names of `methods`.
    """
    measured = measure(log, numbers, cut, methods, seed=seed, report=report)
    return summary(measured, candidate=candidate, baselines=baselines, seed=seed, tied=tied, rivals=rivals)


def measure(
    log: Log,
    numbers: NDArray[np.uint32],
    cut: int,
    methods: Mapping[str, Method],
    *,
    seed: int,
    report: Callable[[int, int], None],
) -> Measured:
    """The lists of every method, as `evaluate` makes them, judged person by person; at most PEOPLE_LIMIT, drawn."""
    log = log.of_items(numbers)
    baskets = first_baskets(log, cut)
    past = log.between(None, cut).kept
    known = baskets.of(_at_most(PEOPLE_LIMIT, np.intersect1d(np.unique(past.person), baskets.people), seed))
    known = beyond_carts(log, known)
    again = np.isin(known.pairs, np.unique(past.person.astype(np.int64) << 32 | past.item))
    most = int(max(numbers.max(initial=0), known.items.max(initial=0)))
    lists = {name: Judged(known, again, most) for name in methods}
    for index, (person, visit) in enumerate(zip(known.people.tolist(), known.visits.tolist(), strict=True)):
        history = log.history(person, visit)
        for name, method in methods.items():
            lists[name].append(method(history, visit))
        report(index + 1, len(known))
    return Measured(cut, len(numbers), known, order_counts(past)[known.people], lists)


def summary(
    measured: Measured,
    *,
    candidate: str,
    baselines: Collection[str],
    seed: int,
    tied: float = 0.0,
    rivals: Collection[str] = (),
) -> Evaluation:
    """The means over people, with their intervals."""
    lists, people = measured.lists, len(measured.baskets)
    scores = {
        name: {metric: score(judged.values(metric), seed) for metric in METRICS}
        | {"coverage_at_10": _exact(coverage(judged.tops, measured.items))}
        for name, judged in lists.items()
    }
    ours = lists[candidate].values(NDCG)
    ahead = {name: score(ours - lists[name].values(NDCG), seed) for name in (*baselines, *rivals)}
    basket = len(measured.baskets.items) / max(people, 1)
    return Evaluation(
        measured.cut,
        people,
        measured.items,
        basket,
        scores,
        {name: ahead[name] for name in baselines},
        candidate,
        tied,
        rivals={name: ahead[name] for name in rivals},
    )


def score(values: NDArray[np.float64], seed: int) -> Score:
    """The mean of the values that are known, with its interval; NaN is not known."""
    values = values[~np.isnan(values)]
    low, high = interval(values, seed)
    return Score(float(values.mean()) if len(values) else 0.0, low, high)


def _exact(value: float) -> Score:
    return Score(value, value, value)


def _at_most(most: int, people: NDArray[np.int32], seed: int) -> NDArray[np.int32]:
    return np.sort(np.random.default_rng(seed).permutation(people)[:most])
