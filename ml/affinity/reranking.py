"""A list of given items in the model's order, as for a category page."""

import numpy as np
from numpy.typing import NDArray

from ml.affinity.ranking import PersonView, Scored, apply_lifts, fallback_scores
from ml.affinity.several_lists import score_pairs
from ml.fallback import Fallback
from ml.masks import Mask, is_allowed, mask_of, without


def rerank(
    view: PersonView,
    given: NDArray[np.uint32],
    allowed: Mask,
    fallback: Fallback,
    nameable: Mask | None = None,
) -> Scored:
    """The allowed ones of the given items (catalogue numbers); only what the person dislikes is left out.

    All that the model knows are scored, not only the candidates of a list. Behind them come, in the given order, items
    that have no score: those newer than the model, and those that other lists leave out, as they were just bought or
    are in the cart. Without a model, popular items are ahead, in their usual order.
    """
    given = _once(given)
    given = given[is_allowed(given, without(allowed, view.dislikes.hidden))]
    shown = mask_of(given)
    wanted = without(shown, view.left_out)
    if view.ranker is None:
        popular = fallback.order[0] if fallback.order else given[:0]
        fallback = Fallback((popular[is_allowed(popular, wanted)], given), fallback.claims)
        numbers, own = fallback_scores(view.lifts, wanted, fallback)
    else:
        fallback = Fallback((given,), fallback.claims)
        numbers = _known(view, given[is_allowed(given, wanted)])
        own = score_pairs(view, numbers)
    return apply_lifts(view, shown, fallback, nameable, numbers, own)


def _once(numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    return numbers[np.sort(np.unique(numbers, return_index=True)[1])]


def _known(view: PersonView, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Those that can be scored, ascending: the model knows them, or events of the person are about them."""
    assert view.ranker is not None
    universe = view.ranker.universe
    known = universe.rows(numbers) < len(universe.numbers)
    if universe.cold is not None and universe.cold.chance is not None and view.evidence is not None:
        known |= np.isin(numbers, view.evidence.cold.numbers)
    known |= np.isin(numbers, view.state.bought["item"]) | np.isin(numbers, view.lifts.numbers)
    return np.sort(numbers[known])
