"""What diversity, repeat shares and exploration change in lists of ten, in Complete Journey and Online Retail II."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.figures import Figure
from ml.affinity.explorable import DRAWS, Explorable
from ml.affinity.ranking import Ranker, Scored
from ml.log import Log
from ml.state import State

MINUTES = 16.0
DAY = 86_400
NEW = 30 * DAY  # an item is new for so long after it was first sold
PEOPLE = 3_000  # that are judged, drawn

Numbers = NDArray[np.uint32]


@dataclass(frozen=True)
class Dials:
    """What a placement may say of its lists."""

    diversity: float = 0.0
    share: float | str | None = None
    explore: float = 0.0


DIALS = {
    "plain": Dials(),
    "diversity_10": Dials(diversity=0.1),
    "diversity_30": Dials(diversity=0.3),
    "diversity_50": Dials(diversity=0.5),
    "explore_10": Dials(explore=0.1),
    "both": Dials(diversity=0.3, explore=0.1),
    "repeats_50": Dials(share=0.5),
    "repeats_own": Dials(share="OWN"),
}


@dataclass(frozen=True)
class Shop:
    """A log with a cut, and what is alike in it."""

    log: Log
    cut: int
    codes: NDArray[np.uint32]  # (numbers + 1,) of each item's category, 0 for none
    first_sold: NDArray[np.int64]  # (numbers + 1,) seconds
    vectors: NDArray[np.float32]  # (numbers + 1, k) of the words of each item, of length 1


def run(seed: int) -> dict[str, Figure]:
    """Train on what is before the cut of each log, then make lists for the first orders after it, as of the visits."""
    from benchmarks import journey_log, retail_log
    from ml.affinity.config import TrainingConfig
    from ml.affinity.training import train

    figures = dict[str, Figure]()
    for name, log, cut in (
        ("retail", retail_log.retail_log(), retail_log.CUT),
        ("journey", journey_log.journey_log(), journey_log.CUT),
    ):
        config = TrainingConfig(seed=seed, test_windows=1)
        figures |= compare(name, log, cut, train(log, cut, lambda stage, done, of: None, config), seed)
    return figures


def compare(name: str, log: Log, cut: int, trained: Ranker, seed: int) -> dict[str, Figure]:
    """The figures of a log: of each setting NDCG@10, what it costs, and what the lists have."""
    from ml.affinity.ranking import score, select, view_person
    from ml.baskets import first_baskets
    from ml.fallback import Fallback
    from ml.metrics import interval, ndcg

    shop, none = _shop(log, cut, seed), np.empty(0, np.uint32)
    items, fallback = _explorable(shop, trained), Fallback.popular(trained.universe.popular_numbers)
    baskets = first_baskets(log, cut)
    known = np.unique(log.between(None, cut).person)
    drawn = np.random.default_rng(seed).permutation(np.intersect1d(known, baskets.people))[:PEOPLE]
    baskets = baskets.of(np.sort(drawn))
    lists: dict[str, list[_Judged]] = {setting: [] for setting in DIALS}
    for index, (person, visit) in enumerate(zip(baskets.people.tolist(), baskets.visits.tolist(), strict=True)):
        state = log.state(person, visit)
        allowed = shop.first_sold < visit
        allowed[0] = False
        view = view_person(trained, state, as_of=visit, context=none)
        scored = score(view, allowed, fallback)
        for setting, dials in DIALS.items():
            top = select(_with(scored, dials, shop, items, index), 10).numbers
            hits = np.isin(top, baskets[index])
            lists[setting].append(_judged(shop, state, top, visit, ndcg(hits, len(baskets[index]))))
    return {
        f"{name}_{setting}_{key}": figure
        for setting, found in lists.items()
        for key, figure in _figures(found, lists["plain"], len(log.numbers), partial(interval, seed=seed)).items()
    }


def _with(scored: Scored, dials: Dials, shop: Shop, items: Explorable, person: int) -> Scored:
    """The list as a placement with these settings has it."""
    from ml.affinity.exploring import Exploration
    from ml.affinity.repeats import repeat_share
    from ml.affinity.variety import Variety

    state, universe = scored.view.state, scored.view.ranker.universe if scored.view.ranker else None
    if dials.explore:
        scored = replace(scored, exploration=Exploration(items, dials.explore, person * 97 % DRAWS))
    if dials.share is None and not dials.diversity:
        return scored
    share = repeat_share(universe, state) if dials.share == "OWN" else dials.share
    own = np.ascontiguousarray(state.bought["item"])
    assert not isinstance(share, str)
    codes = (lambda numbers: shop.codes[numbers],)
    return replace(scored, variety=Variety(dials.diversity, universe, codes, own=own, share=share))


@dataclass(frozen=True)
class _Judged:
    ndcg: float
    top: Numbers
    new: float  # the share of items first sold in the 30 days before the visit
    bought: float  # the share that the person bought before
    apart: float  # the mean distance of two items by their words
    kinds: float  # distinct categories


def _judged(shop: Shop, state: State, top: Numbers, visit: int, ndcg: float) -> _Judged:
    """One list of ten."""
    vectors = shop.vectors[top]
    pairs = np.triu_indices(len(top), 1)
    return _Judged(
        ndcg,
        top,
        float((shop.first_sold[top] >= visit - NEW).mean()),
        float(np.isin(top, state.bought["item"]).mean()),
        1 - float((vectors @ vectors.T)[pairs].mean()),
        float(len(np.unique(shop.codes[top]))),
    )


def _figures(
    found: list[_Judged],
    plain: list[_Judged],
    items: int,
    interval: Callable[[NDArray[np.float64]], tuple[float, float]],
) -> dict[str, Figure]:
    values = np.array([one.ndcg for one in found])
    ahead = values - np.array([one.ndcg for one in plain])
    shown = len(np.unique(np.concatenate([one.top for one in found])))

    def mean(name: str, unit: str, reference: str) -> Figure:
        each = np.array([getattr(one, name) for one in found])
        return Figure(float(each.mean()), unit, *interval(each), reference)

    return {
        "ndcg_at_10": Figure(float(values.mean()), "", *interval(values)),
        "ahead": Figure(float(ahead.mean()), "NDCG@10", *interval(ahead), "of the plain list, paired by person"),
        "new": mean("new", "", "first sold in the 30 days before the visit"),
        "bought": mean("bought", "", "bought before by the person"),
        "apart": mean("apart", "", "1 - cosine of the words of two items of a list"),
        "kinds": mean("kinds", "", "distinct categories of a list"),
        "coverage": Figure(shown / items, "", reference=f"of {items:,} items, in any list"),
    }


def _shop(log: Log, cut: int, seed: int) -> Shop:
    from ml.snapshot import best_supported
    from ml.texts.learning import learned_projection

    assert log.words is not None
    size = int(log.numbers.max()) + 1
    first_sold = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first_sold, log.item, log.occurred)
    codes = np.zeros(size, np.uint32)
    if log.category is not None:
        codes[log.numbers] = log.category + 1
    past = log.between(None, cut)
    projection = learned_projection(log, best_supported(past, len(log.numbers)), cut, seed)
    assert projection is not None
    vectors = np.zeros((size, 2 * projection.alike.shape[1]), np.float32)
    vectors[log.words.numbers] = projection.vectors(log.words)
    return Shop(log, cut, codes, first_sold, vectors)


def _explorable(shop: Shop, trained: Ranker) -> Explorable:
    """The items that hardly anybody bought before the cut, of those that were sold before it or later."""
    from ml.affinity.explorable import ItemColumns, explorable

    numbers = shop.log.numbers
    first = np.clip(shop.first_sold[numbers], 1, shop.cut).astype(np.uint32)
    return explorable(trained.universe, ItemColumns(numbers, (shop.codes[numbers],), first), shop.cut)
