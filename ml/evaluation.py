"""How well the next baskets are predicted: named methods, on the same people as of their visits, over all items."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.baskets import Baskets, beyond_carts, first_baskets, rest_of_orders
from ml.log import Log, order_counts
from ml.metrics import coverage, hit_rate, interval, ndcg, recall, reciprocal_rank
from ml.splits import Window
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
    tables: tuple[int, ...] = ()  # seconds: as of which moments the tables were rebuilt; one for each window

    @property
    def best_baseline(self) -> str:
        """The baseline with the highest NDCG@10; of equal ones the first, which is the simplest."""
        return max(self.ahead, key=lambda name: self.methods[name]["ndcg_at_10"].value)

    def document(self) -> dict[str, Any]:
        """The evaluation as JSON, with its protocol in words."""
        protocol = (
            "first order after the cut of each person with an earlier one, foretold as of the visit: the moment of that"
            " order, from the person's own events before it; weights and calibration know nothing after the cut; the"
            f" test span has {len(self.tables)} {'window' if len(self.tables) == 1 else 'windows'}, and the tables of"
            " every method are rebuilt as of the start of each, in the way in which those that serve are rebuilt every"
            " day; items are the best supported before that start, orders seen through them; every one of them is"
            " ranked; the lists of versions also hold cold items, which are right where the order has them; what was"
            f" bought too recently to be wanted again at the visit is left out of the {self.candidate}'s list;"
            " 95 % bootstrap intervals over people"
        )
        moments = {"cut_at": _moment(self.cut), "tables_as_of": [_moment(each) for each in self.tables]}
        return {"protocol": protocol, **moments, **asdict(self)}


class Judged:
    """The lists of one method, in the order of the baskets: of each its metrics and its first ten items are kept."""

    def __init__(self, baskets: Baskets, again: NDArray[np.bool_], others: list[NDArray[np.uint32]], most: int) -> None:
        """`others` are further items of the orders, right in a list but no part of what it should hold.

        `most` is the largest catalogue number that is ranked or was bought.
        """
        self._baskets, self._again, self._others = baskets, again, others
        self._bought = np.zeros(most + 1, np.bool_)  # by catalogue number; false but while a list is judged
        self._values: dict[str, list[float]] = {metric: [] for metric in (*METRICS, AGAIN, FIRST_TIME)}
        self.tops: list[NDArray[np.uint32]] = []  # (at most 10,) catalogue numbers of each list

    def append(self, ranked: NDArray[np.uint32]) -> None:
        """Judge the next list by the next basket."""
        index = len(self.tops)
        basket = self._baskets[index]
        again = self._again[self._baskets.starts[index] : self._baskets.starts[index + 1]]
        others = self._others[index]
        self._bought[basket] = self._bought[others] = True
        hits = self._bought[ranked]
        self._bought[basket] = self._bought[others] = False
        top = ranked[:10].copy()
        found = (ndcg(hits, len(basket)), recall(hits, len(basket)), hit_rate(hits), reciprocal_rank(hits))
        for metric, value in zip(METRICS, found, strict=True):
            self._values[metric].append(min(value, 1.0))
        for metric, part in ((AGAIN, basket[again]), (FIRST_TIME, basket[~again])):
            self._values[metric].append(ndcg(np.isin(top, part), len(part)) if len(part) else np.nan)
        self.tops.append(top)

    def values(self, metric: str) -> NDArray[np.float64]:
        """(people,) one of METRICS, AGAIN or FIRST_TIME; NaN where a basket has no such item."""
        return np.array(self._values[metric], np.float64)

    def extend(self, other: "Judged") -> None:
        """Add the judged lists of other baskets."""
        for metric, values in other._values.items():
            self._values[metric] += values
        self.tops += other.tops


@dataclass(frozen=True, eq=False)
class Measured:
    """The judged lists of every method, for the same people."""

    cut: int  # seconds
    tables: tuple[int, ...]  # seconds: as of which moments the tables of the methods are
    items: int  # that are ranked; the most, where that changes from window to window
    baskets: Baskets  # one per person
    earlier: NDArray[np.int64]  # (people,) orders before the cut
    lists: dict[str, Judged]

    @classmethod
    def join(cls, parts: Sequence["Measured"]) -> "Measured":
        """All of several windows, one after the other; at least one. It changes the lists of the first."""
        first, *others = parts
        for name, judged in first.lists.items():
            for other in others:
                judged.extend(other.lists[name])
        return cls(
            first.cut,
            tuple(moment for part in parts for moment in part.tables),
            max(part.items for part in parts),
            Baskets.join([part.baskets for part in parts]),
            np.concatenate([part.earlier for part in parts]),
            first.lists,
        )


@dataclass(frozen=True, eq=False)
class Contest:
    """The methods that are compared in one window of the test span; all they know is from before its start."""

    window: Window
    numbers: NDArray[np.uint32]  # catalogue numbers of the items that are ranked
    methods: Mapping[str, Method]


def evaluate(
    log: Log,
    cut: int,
    contests: Iterable[Contest],
    *,
    candidate: str,
    baselines: Collection[str],
    seed: int,
    report: Callable[[int, int], None],
    tied: float = 0.0,
    rivals: Collection[str] = (),
) -> Evaluation:
    """Rank items for every person, and compare with the person's first order after the cut.

    Every list is made as of the visit, the moment of that order: the method sees the person's events before it. `log`
    holds lines before and after the cut. `contests` are as for `measure`. `candidate`, the `baselines`, the simplest
    first, and the `rivals`, versions that served, are names of methods.
    """
    measured = measure(log, cut, contests, seed=seed, report=report)
    return summary(measured, candidate=candidate, baselines=baselines, seed=seed, tied=tied, rivals=rivals)


def measure(
    log: Log, cut: int, contests: Iterable[Contest], *, seed: int, report: Callable[[int, int], None]
) -> Measured:
    """The lists of every method, as `evaluate` makes them, judged person by person; at most PEOPLE_LIMIT, drawn.

    The contests follow each other in time, at least one, each with the same methods. A person is judged once, in the
    first window with an order of theirs. One contest at a time is held, so that its tables need not be kept.
    """
    known = np.intersect1d(log.between(None, cut).kept.person, log.between(cut, None).kept.person)
    waiting = _at_most(PEOPLE_LIMIT, known, seed)
    people, done = len(waiting), 0
    parts: list[Measured] = []
    for contest in contests:
        part = _measured(log, cut, contest, waiting, lambda more, done=done: report(done + more, people))  # type: ignore[misc]
        waiting = np.setdiff1d(waiting, part.baskets.people)
        done += len(part.baskets)
        parts.append(part)
    report(people, people)
    return Measured.join(parts)


def _measured(
    log: Log, cut: int, contest: Contest, waiting: NDArray[np.int32], judged: Callable[[int], None]
) -> Measured:
    """The lists of one contest, for those who wait and have an order in its window."""
    whole, log = log, log.of_items(contest.numbers)
    past = log.between(None, cut).kept
    baskets = first_baskets(log, *contest.window)
    baskets = baskets.of(np.intersect1d(np.unique(past.person), waiting))
    baskets = beyond_carts(log, baskets)
    again = np.isin(baskets.pairs, np.unique(past.person.astype(np.int64) << 32 | past.item))
    most = int(max(each.max(initial=0) for each in (contest.numbers, *_catalogue(whole))))
    others = rest_of_orders(whole, baskets, contest.numbers)
    lists = {name: Judged(baskets, again, others, most) for name in contest.methods}
    for index, (person, visit) in enumerate(zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True)):
        history = log.history(person, visit)
        for name, method in contest.methods.items():
            lists[name].append(method(history, visit))
        judged(index + 1)
    earlier = order_counts(past)[baskets.people]
    return Measured(cut, (contest.window.start,), len(contest.numbers), baskets, earlier, lists)


def _catalogue(log: Log) -> tuple[NDArray[np.uint32], ...]:
    """Catalogue numbers of bought items, and of those with words."""
    return (log.numbers,) if log.words is None else (log.numbers, log.words.numbers)


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
        tables=measured.tables,
    )


def score(values: NDArray[np.float64], seed: int) -> Score:
    """The mean of the values that are known, with its interval; NaN is not known."""
    values = values[~np.isnan(values)]
    low, high = interval(values, seed)
    return Score(float(values.mean()) if len(values) else 0.0, low, high)


def _moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def _exact(value: float) -> Score:
    return Score(value, value, value)


def _at_most(most: int, people: NDArray[np.int32], seed: int) -> NDArray[np.int32]:
    return np.sort(np.random.default_rng(seed).permutation(people)[:most])
