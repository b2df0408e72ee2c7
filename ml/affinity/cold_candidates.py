"""Items that nobody bought yet as candidates: those most like what the person buys, at the chance that they deserve."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.calibration import platt
from ml.affinity.dislikes import without_items
from ml.affinity.network import sigmoid
from ml.affinity.sources import History, history
from ml.baskets import first_baskets
from ml.cold_items import ColdItems
from ml.log import Log
from ml.masks import Mask, is_allowed
from ml.splits import Window
from ml.universe import Universe

MOST = 30  # of one list
LEAST_BOUGHT = 10  # pairs that were bought: with fewer, nothing is known of their chance

Numbers = NDArray[np.uint32]


class ColdEvidence(NamedTuple):
    """What speaks for the items that nobody bought, as of a second."""

    numbers: Numbers  # (items,) catalogue numbers of those that something speaks for, ascending
    sums: NDArray[np.float64]  # (items,) above 0: how like they are to what the person buys, by decayed purchases


NOTHING = ColdEvidence(np.empty(0, np.uint32), np.empty(0))


def cold_evidence(known: History) -> ColdEvidence:
    """The evidence of one person's purchases, without items that the person bought meanwhile."""
    cold = known.universe.cold
    if cold is None or not len(known.rows):
        return NOTHING
    scores = cold.kin_score.take(known.rows, axis=0) * known.purchases[:, None]
    total: NDArray[np.float64] = np.bincount(
        cold.kin.take(known.rows, axis=0).ravel(), scores.ravel(), minlength=len(cold.numbers) + 1
    ).astype(np.float64, copy=False)
    total[-1] = 0
    bought = known.state.bought["item"]
    total[cold.numbers.searchsorted(bought[is_allowed(bought, cold.mask)])] = 0
    rows = np.flatnonzero(total > 0)
    return ColdEvidence(cold.numbers.take(rows), total.take(rows))


def strongest(evidence: ColdEvidence, allowed: Mask) -> Numbers:
    """The MOST allowed items that most speaks for, ascending."""
    kept = np.flatnonzero(is_allowed(evidence.numbers, allowed))
    if len(kept) > MOST:
        kept = np.sort(kept[np.argpartition(-evidence.sums.take(kept), MOST)[:MOST]])
    return evidence.numbers[kept]


def with_cold_scores(
    cold: ColdItems | None, evidence: ColdEvidence, numbers: Numbers, scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(numbers,) the scores of a ranker, where those of items that nobody bought are the chances they deserve.

    A ranker knows nothing of such an item. `numbers` ascend.
    """
    if cold is None or cold.chance is None or not len(evidence.numbers) or not len(numbers):
        return scores
    asked = np.flatnonzero(is_allowed(numbers, cold.mask))
    place = np.minimum(evidence.numbers.searchsorted(numbers.take(asked)), len(evidence.numbers) - 1)
    spoken_for = evidence.numbers.take(place) == numbers.take(asked)
    if not spoken_for.any():
        return scores
    slope, shift = cold.chance
    changed = scores.copy()
    logs = np.log(evidence.sums.take(place[spoken_for]))
    changed[asked[spoken_for]] = sigmoid((slope * logs + shift).astype(np.float32))
    return changed


def cause_of(known: History, number: int, nameable: Mask | None) -> int | None:
    """The bought item that an item nobody bought is most like, by decayed purchases; None where there is none."""
    cold = known.universe.cold
    row = None if cold is None else cold.row(number)
    if cold is None or row is None or not len(known.rows):
        return None
    here = cold.kin.take(known.rows, axis=0) == row
    scores = np.where(here, cold.kin_score.take(known.rows, axis=0), 0).max(axis=1) * known.purchases
    if nameable is not None:
        scores = np.where(is_allowed(known.items["item"], nameable), scores, 0)
    return int(known.items["item"][scores.argmax()]) if scores.max() > 0 else None


def fit_cold_chance(
    log: Log, universe: Universe, cold: ColdItems, window: Window, *, people: int, seed: int
) -> tuple[float, float] | None:
    """Slope and shift, fitted to how often a candidate that nobody had bought was in the first orders of a window.

    `universe` and `cold` are as of the start of the window. None with fewer than LEAST_BOUGHT such purchases.
    """
    universe = universe.with_cold(cold)
    baskets = first_baskets(log, window.start, window.end)
    everything = np.ones(int(cold.numbers.max(initial=0)) + 1, np.bool_)
    logs, bought = [np.empty(0)], [np.empty(0, np.bool_)]
    for index in np.random.default_rng(seed).permutation(len(baskets))[:people].tolist():
        visit = int(baskets.visits[index])
        state = log.state(int(baskets.people[index]), visit)
        evidence = cold_evidence(history(universe, without_items(state, state.disliked), visit))
        numbers = strongest(evidence, everything)
        logs.append(np.log(evidence.sums[np.searchsorted(evidence.numbers, numbers)]))
        bought.append(np.isin(numbers, baskets[index]))
    hits: NDArray[Any] = np.concatenate(bought)
    if hits.sum() < LEAST_BOUGHT:
        return None
    return platt(np.concatenate(logs).astype(np.float32), hits)
