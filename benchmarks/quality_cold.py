"""Items first sold after the cut, in Online Retail II and Complete Journey: ranked by their words, and in the lists."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from ml.baskets import Baskets, first_baskets
from ml.log import Log
from ml.state import State, decayed
from ml.universe import Universe

MINUTES = 8.0
ITEMS = 10_000  # of the universe, as a training has by default
DAY = 86_400

Order = Callable[[State, int], NDArray[np.float64]]  # (state, second) -> a score of each item that nobody bought


class Visits(NamedTuple):
    """First orders after the cut that hold an item nobody had bought before it, of people with a past."""

    log: Log
    universe: Universe
    baskets: Baskets


def run(seed: int) -> dict[str, Figure]:
    """Rank what nobody bought before the cut for those who bought of it; then lists with and without such items."""
    from benchmarks import journey_log, retail_log
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train
    from ml.snapshot import best_supported, snapshot
    from ml.texts.learning import learned_projection
    from ml.texts.likeness import Support, cold_items

    log, cut = retail_log.retail_log(), retail_log.CUT
    trained = train(log, cut, lambda stage, done, of: None, TrainingConfig(seed=seed))
    figures = _ranked_cold(_visits(log, trained.universe, cut), cut, "retail", seed)
    figures |= _in_lists(log, trained.universe, trained.network, cut, seed)
    log, cut = journey_log.journey_log(), journey_log.CUT
    past = log.between(None, cut)
    universe = snapshot(past, best_supported(past, ITEMS), cut)
    projection = learned_projection(log, universe.numbers, cut, seed)
    assert projection is not None
    assert log.words is not None
    never_sold = cold_items(projection, log.words, universe.numbers, Support.of(past, len(log.numbers)))
    universe = universe.with_cold(never_sold)
    return figures | _ranked_cold(_visits(log, universe, cut), cut, "journey", seed)


def _visits(log: Log, universe: Universe, cut: int) -> Visits:
    assert universe.cold is not None
    baskets = first_baskets(log.of_items(universe.cold.numbers), cut)
    return Visits(log, universe, baskets.of(np.unique(log.between(None, cut).person)))


def _ranked_cold(visits: Visits, cut: int, name: str, seed: int) -> dict[str, Figure]:
    """NDCG@10 among the items that nobody bought, by their words and by what could be known without them."""
    from ml.affinity.cold_candidates import cold_evidence
    from ml.affinity.sources import history
    from ml.metrics import interval, ndcg
    from ml.ties import mixed

    log, universe, baskets = visits
    cold = universe.cold
    assert cold is not None
    odd = np.argsort(np.argsort(mixed(cold.numbers)))  # the order of items of which nothing is known

    def by_words(state: State, visit: int) -> NDArray[np.float64]:
        evidence = cold_evidence(history(universe, state, visit))
        scores = np.zeros(len(cold.numbers))
        scores[np.searchsorted(cold.numbers, evidence.numbers)] = evidence.sums
        return scores

    orders: dict[str, Order] = {"words": by_words, "any order": lambda state, visit: np.zeros(len(cold.numbers))}
    orders |= _by_category(log, cold.numbers, cut)
    found: dict[str, list[float]] = {method: [] for method in orders}
    for index, (person, visit) in enumerate(zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True)):
        state, bought = log.state(person, visit), baskets[index]
        for method, order in orders.items():
            best = np.lexsort((odd, -order(state, visit)))[:10]
            found[method].append(ndcg(np.isin(cold.numbers[best], bought), len(bought)))
    values = {method: np.array(each) for method, each in found.items()}
    words = values.pop("words")
    others = ", ".join(f"{method} {each.mean():.4f}" for method, each in values.items())
    figures = {f"{name}_ndcg_at_10": Figure(float(words.mean()), "", *interval(words, seed), others)}
    for method, each in values.items():
        key = f"{name}_ahead_of_{method.replace(' ', '_')}"
        ahead = words - each
        figures[key] = Figure(float(ahead.mean()), "NDCG@10", *interval(ahead, seed), "paired by person; above 0")
    reference = f"who bought of {len(cold.numbers):,} items never sold before"
    return figures | {f"{name}_people": Figure(len(baskets), "", reference=reference)}


def _by_category(log: Log, numbers: NDArray[np.uint32], cut: int) -> Mapping[str, Order]:
    """Orders by the most specific category: of what all bought in four weeks, and of what the person bought."""
    if log.category is None:
        return {}
    category = log.category
    here, categories = category[np.searchsorted(log.numbers, numbers)], int(category.max()) + 1
    lately = log.between(cut - 28 * DAY, cut)
    popular = np.bincount(category[np.searchsorted(log.numbers, lately.item)], minlength=categories).astype(np.float64)

    def own(state: State, visit: int) -> NDArray[np.float64]:
        codes = category[np.searchsorted(log.numbers, state.bought["item"])]
        shares: NDArray[np.float64] = np.bincount(codes, decayed(state.bought, visit), minlength=categories).astype(
            np.float64
        )
        return shares[here]

    return {"popular category": lambda state, visit: popular[here], "own category": own}


def _in_lists(log: Log, universe: Universe, network: object, cut: int, seed: int) -> dict[str, Figure]:
    """NDCG@10 of lists with and without items never sold, against all items of the first order after the cut."""
    from ml.affinity.network import Network
    from ml.affinity.ranking import Ranker, rank
    from ml.fallback import Fallback
    from ml.metrics import interval, ndcg

    assert isinstance(network, Network)
    assert universe.cold is not None
    allowed = np.arange(int(log.numbers.max()) + 1) > 0
    fallback, none = Fallback.popular(universe.popular_numbers), np.empty(0, np.uint32)
    rankers = [Ranker(universe, network), Ranker(replace(universe, cold=None), network)]
    baskets = first_baskets(log, cut)
    baskets = baskets.of(np.unique(log.between(None, cut).person))
    values: list[list[float]] = [[], []]
    shown = 0
    for index, (person, visit) in enumerate(zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True)):
        state = log.state(person, visit)
        for ranker, each in zip(rankers, values, strict=True):
            ranked = rank(
                ranker, state, as_of=visit, allowed=allowed, context=none, fallback=fallback, first=10
            ).numbers  # fmt: skip
            each.append(ndcg(np.isin(ranked, baskets[index]), len(baskets[index])))
            if ranker is rankers[0]:
                shown += int(np.isin(ranked, universe.cold.numbers).sum())
    ours, before = (np.array(each) for each in values)
    return {
        "lists_ndcg_at_10": Figure(float(ours.mean()), "", *interval(ours, seed), f"without them {before.mean():.4f}"),
        "lists_ahead": Figure(
            float((ours - before).mean()), "NDCG@10", *interval(ours - before, seed), "paired by person; not below 0"
        ),
        "lists_share": Figure(shown / max(10 * len(baskets), 1), "", reference="of the first ten places"),
    }
