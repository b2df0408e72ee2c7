"""What the lists of each kind have: those that the person's next purchase orders, and the others."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from core.contract import Person
from core.errors import InvalidInput
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.catalogue.offers import offer_in
from engine.placements.placement import Placement, hide_repeats, preferred_by
from engine.placements.settings import ListKind
from engine.recommending.people import has_events
from engine.recommending.serving_models import ServingModels
from engine.rules.in_force import RulesInForce, leaders_of, narrow_by, weigh
from engine.variety.varying import Place, vary
from ml.affinity.list_kinds import (
    Chosen,
    alternatives,
    buy_again,
    chosen_none,
    complements,
    recently_viewed,
    rerank_chosen,
    score_chosen,
)
from ml.affinity.ranking import PersonView, Scored, score
from ml.affinity.reranking import rerank
from ml.fallback import Fallback
from ml.masks import Mask
from ml.state import State

MAX_IDS: Final = 500  # in one argument
RANKED: Final = frozenset({ListKind.PERSONAL, ListKind.NEW_FOR_YOU, ListKind.ON_SALE})  # by what the person wants next
BAND: Final = 1.5  # times as dear, or so many times cheaper, as an alternative may be
_FIRST_SOURCE: Final = {ListKind.POPULAR: "POPULAR", ListKind.TRENDING: "TRENDING", ListKind.NEW_FOR_YOU: "NEW"}
_ON_SALE: Final = Filter(on_sale=True)
_FIRST: Final = Place()


class Wanted(Protocol):
    """What decides which items a list has, beside the person and the masks: a `ListRequest`."""

    @property
    def kind(self) -> ListKind:
        """What is listed."""

    @property
    def placement(self) -> Placement | None:
        """What the shop wants there."""

    @property
    def market(self) -> str | None:
        """Where the person buys."""

    @property
    def context_items(self) -> Sequence[str]:
        """The ids of the items on the page, then of those in the cart."""

    @property
    def viewed_items(self) -> Sequence[str]:
        """The ids of the items just looked at."""

    @property
    def among(self) -> Sequence[str] | None:
        """The ids of the only items that are listed."""

    @property
    def filter(self) -> Filter | None:
        """What the request allows."""

    @property
    def category(self) -> str | None:
        """The category of the page."""

    @property
    def exclude(self) -> Sequence[str]:
        """The ids of items that are left out."""

    @property
    def rules(self) -> RulesInForce | None:
        """The shop's rules that hold."""


def kind_of(placement: Placement | None, asked: ListKind | None) -> ListKind:
    """The kind of a list: the one that the request asks for, else the placement's."""
    return asked or (placement.kind if placement else ListKind.PERSONAL)


def sources_of_kind(placement: Placement | None, kind: ListKind) -> tuple[str, ...]:
    """What fills a list of a kind first."""
    sources, first = preferred_by(placement), _FIRST_SOURCE.get(kind)
    if first is None or (kind is ListKind.NEW_FOR_YOU and sources):
        return sources
    return (first, *(source for source in sources if source != first))


def is_ranked(placement: Placement | None, kind: ListKind, state: State) -> bool:
    """Whether the model makes a list. If nothing is known of the person, the sources of a placement or kind do."""
    return kind not in RANKED or has_events(state) or not sources_of_kind(placement, kind)


def is_of_kind(catalogue: Catalogue, kind: ListKind, market: str | None, number: int) -> bool:
    """Whether a list of the kind may have the item, whoever the person is."""
    return kind is not ListKind.ON_SALE or bool(catalogue.mask(_ON_SALE, market)[number])


def narrow_to_kind(catalogue: Catalogue, kind: ListKind, market: str | None, allowed: Mask) -> None:
    """Take the items out of the mask that no list of the kind has, whoever the person is."""
    if kind is ListKind.ON_SALE:
        allowed &= catalogue.mask(_ON_SALE, market)


def hide_own(
    catalogue: Catalogue, wanted: Wanted, view: PersonView, state: State, allowed: Mask, nameable: Mask
) -> None:
    """Take the items out of the mask that the placement does not repeat, or that are not new to the person.

    What the person hid is in neither mask.
    """
    _hide_chosen(catalogue, state, allowed, nameable)
    hide_repeats(wanted.placement, catalogue, view, state, allowed)
    if wanted.kind is ListKind.NEW_FOR_YOU:
        allowed[known_to(catalogue, state, wanted.viewed_items)] = False


def _hide_chosen(catalogue: Catalogue, state: State, *masks: Mask) -> None:
    """Take the items out of the masks that the person hid, or whose categories they hid: not even a rule lists them."""
    if not state.choices.version:
        return
    hidden = state.hidden[state.hidden < catalogue.size]
    others = None
    if state.choices.categories:
        others = ~catalogue.matching(Filter(categories=state.choices.categories))
    for mask in masks:
        mask[hidden] = False
        if others is not None:
            mask &= others


def known_to(catalogue: Catalogue, state: State, just_viewed: Sequence[str]) -> NDArray[np.uint32]:
    """The numbers of what a person bought or looked at, and of its variants: as far as the state knows, 512 items."""
    known = np.union1d(state.items["item"], state.recent["item"])
    known = np.concatenate([known[known < catalogue.size], catalogue.numbers_of(just_viewed)])
    return np.concatenate([known, catalogue.variants_of(known)])


def place_of(wanted: Wanted, person: Person, models: ServingModels, as_of: int, seen: Sequence[int] = ()) -> Place:
    """Where a page is in the person's list, and which of its places are given by chance.

    Only lists by what the person wants next have such places, and none of given items.
    """
    placement, ranked = wanted.placement, wanted.kind in RANKED
    if placement is None or not placement.explore or not ranked or wanted.among is not None:
        return Place(seen, ranked=ranked)
    serving = models.current
    universe = serving.universe if serving else None
    return Place(seen, models.explorables.exploration(placement, person, universe, as_of, seen))


def allowed_by(catalogue: Catalogue, request: Wanted) -> tuple[Mask, Mask]:
    """New masks by item number: the available items that the request allows, and those that its reasons may name.

    A reason may name what a filter allows, and what the page shows; not what is excluded.
    """
    allowed = catalogue.sellable(request.filter, request.market)
    if request.placement is not None:
        request.placement.narrow(catalogue, request.market, allowed)
    narrow_by(request.rules, allowed)
    nameable = allowed.copy()
    narrow_to_kind(catalogue, request.kind, request.market, allowed)
    if request.category is not None:
        allowed &= catalogue.mask(Filter(categories=(request.category,)))
    if request.among is not None:
        named = np.zeros_like(allowed)
        named[catalogue.numbers_of(check_count(request.among, "among", MAX_IDS))] = True
        allowed &= named
    if request.exclude:
        excluded = catalogue.numbers_of(check_count(request.exclude, "exclude", MAX_IDS))
        allowed[excluded] = nameable[excluded] = False
    if request.context_items:
        nameable[catalogue.numbers_of(request.context_items)] = True
    return allowed, nameable


def exclude_variants(catalogue: Catalogue, allowed: Mask, left_out: NDArray[np.uint32]) -> None:
    """Take the variants of items that were just bought, are in the cart or are on the page out of the mask."""
    known = left_out[left_out < catalogue.size]
    if catalogue.has_groups and len(known):
        allowed[catalogue.variants_of(known)] = False


def check_count(ids: Sequence[str], field: str, most: int) -> Sequence[str]:
    """The ids; raises InvalidInput, naming `field`, for more than `most`."""
    if len(ids) > most:
        raise InvalidInput(f"{field} may name at most {most} items.", field=field)
    return ids


def score_list(
    catalogue: Catalogue,
    wanted: Wanted,
    view: PersonView,
    allowed: Mask,
    fallback: Fallback,
    nameable: Mask | None,
    place: Place = _FIRST,
) -> Scored:
    """The candidates of a list, as the kind wants them, with the boosts of rules and the variety of the placement."""
    return vary(catalogue, wanted.placement, score_whole(catalogue, wanted, view, allowed, fallback, nameable), place)


def score_whole(
    catalogue: Catalogue, wanted: Wanted, view: PersonView, allowed: Mask, fallback: Fallback, nameable: Mask | None
) -> Scored:
    """The same for all pages of a list, before the variety."""
    return weigh(wanted.rules, _score(catalogue, wanted, view, allowed, fallback, nameable))


def finished(catalogue: Catalogue, wanted: Wanted, scored: Scored, place: Place = _FIRST) -> Scored:
    """A list that is scored, with the boosts of rules and the variety of its placement."""
    return vary(catalogue, wanted.placement, weigh(wanted.rules, scored), place)


def _score(
    catalogue: Catalogue, wanted: Wanted, view: PersonView, allowed: Mask, fallback: Fallback, nameable: Mask | None
) -> Scored:
    given = None if wanted.among is None else catalogue.numbers_of(wanted.among)
    if wanted.kind in RANKED:
        if given is None:
            return score(view, allowed, fallback, nameable, also=leaders_of(wanted.rules, view))
        return rerank(view, given, allowed, fallback, nameable)
    chosen = _chosen(catalogue, wanted, view, allowed, fallback, nameable)
    if given is None:
        return score_chosen(view, chosen, allowed, fallback, nameable)
    return rerank_chosen(view, chosen, given, allowed, fallback, nameable)


def _chosen(
    catalogue: Catalogue, wanted: Wanted, view: PersonView, allowed: Mask, fallback: Fallback, nameable: Mask | None
) -> Chosen:
    if wanted.kind is ListKind.RECENTLY_VIEWED:
        return recently_viewed(view, catalogue.numbers_of(wanted.viewed_items))
    if wanted.kind is ListKind.BUY_AGAIN:
        return buy_again(view)
    context = catalogue.numbers_of(wanted.context_items)
    if wanted.kind is ListKind.BOUGHT_TOGETHER:
        return complements(view, context, nameable)
    if wanted.kind is ListKind.ALTERNATIVES and len(context):
        instead, like = _instead_of(catalogue, int(context[0]), wanted.market)
        return alternatives(view, int(context[0]), instead, allowed, fallback, like=like)
    return chosen_none()


def _instead_of(catalogue: Catalogue, number: int, market: str | None) -> tuple[Mask, bool]:
    """The items that cost about as much as one, of its last category, and whether it has one."""
    item = catalogue.item(number)
    assert item is not None
    offer, category = offer_in(item.offers, market), item.categories[-1:]
    low = high = currency = None
    if offer is not None and offer.price is not None:
        low, high, currency = float(offer.price) / BAND, float(offer.price) * BAND, offer.currency
    near = Filter(categories=category or None, low=low, high=high, currency=currency)
    return catalogue.matching(near, market), bool(category)
