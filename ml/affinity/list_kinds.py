"""The lists that a person's next purchase does not order: what each has, best first, and why. A fallback fills them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ml.affinity.ranking import PersonView, Scored, explain_own, is_due, own_gaps
from ml.affinity.similar import nearest
from ml.carts import in_cart
from ml.fallback import Fallback, fill
from ml.masks import Mask, is_allowed, mask_of, without
from ml.ranked import REASON, Explained, best_first
from ml.state import age_of
from ml.universe import DAY, Universe

MOST_OF_CATEGORY = 200  # items of one category that a list of alternatives has
_NONE = np.empty(0, np.uint32)


class Chosen(NamedTuple):
    """What a list of a kind has, best first: catalogue numbers, which may come twice, and reasons."""

    numbers: NDArray[np.uint32]
    explained: Explained

    @classmethod
    def of(cls, numbers: NDArray[np.uint32], reason: str, because: NDArray[np.uint32] | int = 0) -> "Chosen":
        """Items with one reason, about one item each, or about themselves."""
        reasons = np.full(len(numbers), REASON[reason], np.uint8)
        return cls(numbers, Explained.of(reasons, np.zeros(len(numbers), np.uint32) + np.uint32(because)))


def chosen_none() -> Chosen:
    """No item: the fallback is the list."""
    return Chosen.of(_NONE, "OTHER")


def recently_viewed(view: PersonView, just_viewed: NDArray[np.uint32]) -> Chosen:
    """What the person looked at and did not buy since, newest first; `just_viewed`, which no event reports yet, before.

    A state knows the 512 items that matter most to a person.
    """
    items = view.state.items
    items = items[(items["views"] > 0) & (items["viewed"] > items["last"])]
    newest = np.lexsort((items["item"], -items["viewed"].astype(np.int64)))
    return Chosen.of(np.concatenate([just_viewed, items["item"][newest]]).astype(np.uint32), "VIEWED_BEFORE")


def buy_again(view: PersonView) -> Chosen:
    """What the person bought and people buy again: what is due, the latest due first, then what is due next.

    What was bought at one time only, and nobody bought again, is left out.
    """
    universe = view.ranker.universe if view.ranker else None
    rows = view.state.bought
    gaps = own_gaps(rows)
    wait = np.where(np.isfinite(gaps), gaps, _usual_gaps(universe, rows["item"]))
    again = np.isfinite(wait)
    rows, gaps, wait = rows[again], gaps[again], wait[again]
    due = is_due(universe, gaps, rows, view.as_of)
    ahead = wait - age_of(rows["last"], view.as_of)  # seconds until it is due
    order = np.lexsort((rows["item"], np.where(due, -ahead, ahead), ~due))
    rows = rows[order]
    return Chosen(np.ascontiguousarray(rows["item"]), explain_own(universe, rows, view.as_of))


def _usual_gaps(universe: Universe | None, numbers: NDArray[np.uint32]) -> NDArray[np.float64]:
    """(items,) seconds after which people usually buy each item again; infinite where nobody does."""
    if universe is None:
        return np.full(len(numbers), np.inf)
    at = universe.rows(numbers)
    again = (at < len(universe.numbers)) & ((universe.column("rebuy")[at] > 0) | universe.are_rebought(at))
    return np.where(again, np.expm1(universe.column("gap")[at].astype(np.float64)) * DAY, np.inf)


def complements(view: PersonView, shown: NDArray[np.uint32], nameable: Mask | None) -> Chosen:
    """What completes the shown items, without any those in the person's cart: each item by the best of its links."""
    universe = view.ranker.universe if view.ranker else None
    if universe is None or universe.together is None or universe.together_score is None:
        return chosen_none()
    causes = shown if len(shown) else in_cart(view.state, view.as_of)
    if nameable is not None:
        causes = causes[is_allowed(causes, nameable)]
    found = [universe.linked(universe.together[row], universe.together_score[row]) for row in universe.rows(causes)]
    if not found:
        return chosen_none()
    numbers, scores = (np.concatenate(column) for column in zip(*found, strict=True))
    because = np.repeat(causes, [len(one) for one, _ in found])
    order = best_first(scores, numbers)
    return Chosen.of(numbers[order], "BOUGHT_TOGETHER", because[order])


def alternatives(
    view: PersonView, number: int, instead: Mask, allowed: Mask, fallback: Fallback, *, like: bool
) -> Chosen:
    """What may be bought instead of an item: the nearest to it among `instead`, then the others there.

    `like`: `instead` are items of one category, of which all are alike; else only those near to the item are.
    """
    numbers, scores = _NONE, np.empty(0, np.float32)
    inside = allowed & instead
    if view.ranker is not None:
        numbers, scores = nearest(view.ranker.universe, number)
        kept = is_allowed(numbers, inside)
        numbers, scores = numbers[kept], scores[kept]
    order = best_first(scores, numbers)
    numbers, scores = numbers[order], scores[order]
    if like:
        numbers, _ = fill(numbers, scores, inside, fallback, MOST_OF_CATEGORY)
    return Chosen.of(numbers, "SIMILAR_TO", number)


def score_chosen(
    view: PersonView, chosen: Chosen, allowed: Mask, fallback: Fallback, nameable: Mask | None = None
) -> Scored:
    """The list of a kind: the allowed ones of the chosen items, then the fallback with reasons of its own."""
    return _scored(view, chosen, without(allowed, view.left_out), None, fallback, nameable)


def rerank_chosen(
    view: PersonView,
    chosen: Chosen,
    given: NDArray[np.uint32],
    allowed: Mask,
    fallback: Fallback,
    nameable: Mask | None = None,
) -> Scored:
    """The given items alone, once each: the chosen ones first, the others as given. What is disliked is left out."""
    given = given[is_allowed(given, without(allowed, view.dislikes.hidden))]
    shown = mask_of(given)
    rest = Fallback((given[np.sort(np.unique(given, return_index=True)[1])],), fallback.claims)
    return _scored(view, chosen, without(shown, view.left_out), shown, rest, nameable)


def _scored(
    view: PersonView, chosen: Chosen, wanted: Mask, shown: Mask | None, fallback: Fallback, nameable: Mask | None
) -> Scored:
    at = np.flatnonzero(is_allowed(chosen.numbers, wanted))
    numbers, first = np.unique(chosen.numbers[at], return_index=True)  # ascending; of each the first place
    at = at[first]
    reasons, because, every = (column[at] for column in chosen.explained)
    order = np.argsort(first)
    scores = np.empty(len(numbers), np.float32)
    scores[order] = np.linspace(0.9, 0.5, len(numbers), dtype=np.float32)

    def explain(asked: NDArray[np.uint32]) -> Explained:
        place = np.minimum(np.searchsorted(numbers, asked), max(len(numbers) - 1, 0))
        found = fallback.explain(asked)
        if len(numbers):
            own = np.flatnonzero(numbers[place] == asked)
            of = place[own]
            found.reasons[own], found.because[own], found.every[own] = reasons[of], because[of], every[of]
        return found

    unknown = np.full(len(numbers), np.nan, np.float32)
    mask = wanted if shown is None else shown
    return Scored(view, mask, nameable, fallback, numbers, unknown, scores, order, explain)
