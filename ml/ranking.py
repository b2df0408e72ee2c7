"""One person's list: candidates, masks, the ranker, what was just looked at, and a reason for each item."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.bundle import Bundle
from ml.candidates import find, is_allowed, telling
from ml.features import pair_features
from ml.interest import Lifts, lifts
from ml.network import Network, sigmoid
from ml.state import State
from ml.universe import COLUMNS, DAY, SHORTEST_REST, Universe

REASONS = (
    "BOUGHT_BEFORE", "DUE_AGAIN", "SIMILAR_TO", "BOUGHT_TOGETHER", "AFFINITY", "SEQUENCE",
    "POPULAR", "TRENDING", "NEW", "PINNED", "EXPLORATION",
)  # fmt: skip
_REASON = {name: code for code, name in enumerate(REASONS)}
DUE = 0.9  # of the usual time between two purchases has passed


@dataclass(frozen=True, eq=False)
class Ranked:
    """The list, best first."""

    numbers: NDArray[np.uint32]  # (k,) catalogue numbers
    scores: NDArray[np.float32]  # (k,) in [0, 1], falling
    reasons: NDArray[np.uint8]  # (k,) index in REASONS
    because: NDArray[np.uint32]  # (k,) catalogue number of the item the reason names, 0 = none


def rank(
    bundle: Bundle | None,
    state: State,
    *,
    as_of: int,
    allowed: NDArray[np.bool_],
    context: NDArray[np.uint32],
    popular: NDArray[np.uint32],
    first: int,
) -> Ranked:
    """The `first` items this person most likely wants next, as of a second.

    `allowed` is a mask by catalogue number: nothing else is returned, and the list is only shorter than `first` when
    fewer items are allowed and awake. An item just bought rests (`resting`) and is left out. `context` are catalogue
    numbers of the items on the page or in the cart: they lift their neighbours (leave them out of `allowed` to hide
    them). `popular` fills the list; without a bundle it is the list.
    """
    if bundle is None:
        allowed = awake(None, state, as_of, allowed)
        return _popular_only(lifts(None, state, as_of, context), allowed, popular, first)
    return rank_with(
        bundle.universe,
        bundle.network,
        state,
        as_of=as_of,
        allowed=allowed,
        context=context,
        popular=popular,
        first=first,
    )


def rank_with(
    universe: Universe,
    network: Network,
    state: State,
    *,
    as_of: int,
    allowed: NDArray[np.bool_],
    context: NDArray[np.uint32],
    popular: NDArray[np.uint32],
    first: int,
) -> Ranked:
    """`rank` by the parts of a bundle: what is evaluated before a bundle may be written."""
    allowed = awake(universe, state, as_of, allowed)
    lift = lifts(universe, state, as_of, context)
    candidates = find(universe, state, as_of, allowed, lift.numbers)
    features = pair_features(universe, state, candidates.numbers, candidates.near, candidates.following, as_of)
    scores, because = _lifted(candidates.numbers, sigmoid(network.logits(features)), lift)
    best = _best(scores, candidates.numbers, first)
    numbers = candidates.numbers[best]
    reasons, because = _explain(universe, state, as_of, numbers, because[best])
    return _filled(Ranked(numbers, scores[best], reasons, because), allowed, popular, first)


def similar(bundle: Bundle | None, number: int, allowed: NDArray[np.bool_], first: int) -> Ranked:
    """The items nearest to one, then popular ones; empty without a bundle."""
    if bundle is None:
        return _none()
    universe = bundle.universe
    allowed = _without(allowed, np.array([number], np.uint32))
    row = int(universe.rows(np.array([number]))[0])
    real = universe.near_score[row] > 0
    numbers, scores = universe.numbers[universe.near[row][real]], universe.near_score[row][real]
    kept = is_allowed(numbers, allowed)
    numbers, scores = numbers[kept], scores[kept]
    best = _best(scores, numbers, first)
    found = Ranked(numbers[best], scores[best], _codes("SIMILAR_TO", len(best)), np.full(len(best), number, np.uint32))
    return _filled(found, allowed, bundle.popular, first)


def resting(universe: Universe | None, state: State, as_of: int) -> NDArray[np.uint32]:
    """The catalogue numbers of the person's items bought too lately to be wanted again."""
    bought = state.bought
    rest = universe.rest[universe.rows(bought["item"])] if universe else np.float32(SHORTEST_REST)
    numbers: NDArray[np.uint32] = bought["item"][as_of - bought["last"].astype(np.float64) < rest]
    return numbers


def awake(universe: Universe | None, state: State, as_of: int, allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without what rests."""
    return _without(allowed, resting(universe, state, as_of))


def _without(allowed: NDArray[np.bool_], numbers: NDArray[np.uint32]) -> NDArray[np.bool_]:
    mask = allowed.copy()
    mask[numbers[numbers < len(mask)]] = False
    return mask


def _lifted(
    numbers: NDArray[np.uint32], scores: NDArray[np.float32], lift: Lifts
) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """Scores after the lift, as if either reason alone were enough; and the cause of a lift, 0 where there is none."""
    because = np.zeros(len(numbers), np.uint32)
    if not len(lift.numbers) or not len(numbers):
        return scores, because
    place = np.minimum(np.searchsorted(lift.numbers, numbers), len(lift.numbers) - 1)
    hit = lift.numbers[place] == numbers
    weight = np.where(hit, lift.weight[place], np.float32(0))
    because[hit] = lift.because[place[hit]]
    return 1 - (1 - scores) * (1 - weight), because


def _best(scores: NDArray[np.float32], numbers: NDArray[np.uint32], first: int) -> NDArray[np.intp]:
    """Positions of the `first` highest scores, falling; of equal scores the lowest number first."""
    return np.lexsort((numbers, -scores))[:first]


def _explain(
    universe: Universe, state: State, as_of: int, numbers: NDArray[np.uint32], lifted_by: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """A reason code and the item it names: bought before, near to something bought or looked at, or popular."""
    code, because = _closest(universe, state, as_of, numbers)
    because = np.where(lifted_by > 0, lifted_by, because)
    code = np.where(lifted_by > 0, _REASON["SIMILAR_TO"], code)
    bought = state.bought
    if len(bought) and len(numbers):
        place = np.minimum(np.searchsorted(bought["item"], numbers), len(bought) - 1)
        own = bought["item"][place] == numbers
        due = _is_due(universe, bought[place], as_of)
        code = np.where(own, np.where(due, _REASON["DUE_AGAIN"], _REASON["BOUGHT_BEFORE"]), code)
        because = np.where(own, 0, because)
    return code.astype(np.uint8), because.astype(np.uint32)


def _is_due(universe: Universe, rows: NDArray[Any], as_of: int) -> NDArray[np.bool_]:
    """Whether the person's own usual time between purchases of an item, or everybody's, has nearly passed."""
    usual = np.expm1(universe.columns[universe.rows(rows["item"]), COLUMNS.index("gap")]) * DAY
    own = (rows["last"] - rows["first"]) / np.maximum(rows["lines"].astype(np.float64) - 1, 1)
    gap = np.where(rows["lines"] > 1, own, usual)
    result: NDArray[np.bool_] = as_of - rows["last"].astype(np.float64) >= DUE * gap
    return result


def _closest(
    universe: Universe, state: State, as_of: int, numbers: NDArray[np.uint32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """For each item the bought item that says most for it: SIMILAR_TO that one, or POPULAR when none does."""
    code, because = _codes("POPULAR", len(numbers)), np.zeros(len(numbers), np.uint32)
    bought, weight = telling(state, as_of)
    rows = universe.rows(bought["item"])
    place = np.full(len(universe.numbers) + 1, -1, np.int32)
    place[universe.rows(numbers)] = np.arange(len(numbers))
    place[-1] = -1
    wanted = place[universe.near[rows]]  # (bought, k)
    causes, _ = hits = np.nonzero(wanted >= 0)
    strength = weight[causes] * universe.near_score[rows][hits]
    order = np.lexsort((bought["item"][causes], -strength))
    targets, firsts = np.unique(wanted[hits][order], return_index=True)
    code[targets] = _REASON["SIMILAR_TO"]
    because[targets] = bought["item"][causes[order[firsts]]]
    return code, because


def _popular_only(lift: Lifts, allowed: NDArray[np.bool_], popular: NDArray[np.uint32], first: int) -> Ranked:
    """Without a model: popular items by rank, and whatever the person just looked at."""
    numbers = np.concatenate([popular, lift.numbers])
    _, index = np.unique(numbers, return_index=True)
    numbers = numbers[np.sort(index)]
    scores = (0.1 / (1 + np.arange(len(numbers)))).astype(np.float32)
    kept = is_allowed(numbers, allowed)
    numbers, scores = numbers[kept], scores[kept]
    scores, _ = _lifted(numbers, scores, lift)
    best = _best(scores, numbers, first)
    found = Ranked(numbers[best], scores[best], _codes("POPULAR", len(best)), np.zeros(len(best), np.uint32))
    return _filled(found, allowed, popular, first)


def _filled(found: Ranked, allowed: NDArray[np.bool_], popular: NDArray[np.uint32], first: int) -> Ranked:
    """The list brought to `first` items: popular ones, then any other, below the last score."""
    missing = first - len(found.numbers)
    if missing <= 0:
        return found
    left = _without(allowed, found.numbers)
    more = popular[is_allowed(popular, left)][:missing].astype(np.uint32)
    if len(more) < missing:
        rest = np.flatnonzero(_without(left, more))
        more = np.concatenate([more, rest[rest > 0][: missing - len(more)].astype(np.uint32)])
    least = found.scores[-1] if len(found.scores) else np.float32(0.01)
    steps = np.linspace(1, 0, len(more) + 2, dtype=np.float32)[1:-1]
    return Ranked(
        np.concatenate([found.numbers, more]),
        np.concatenate([found.scores, least * steps]),
        np.concatenate([found.reasons, _codes("POPULAR", len(more))]),
        np.concatenate([found.because, np.zeros(len(more), np.uint32)]),
    )


def _codes(reason: str, count: int) -> NDArray[np.uint8]:
    return np.full(count, _REASON[reason], np.uint8)


def _none() -> Ranked:
    return Ranked(np.empty(0, np.uint32), np.empty(0, np.float32), np.empty(0, np.uint8), np.empty(0, np.uint32))
