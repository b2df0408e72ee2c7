"""The rules that keep an item out of a person's list, whatever its score is."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from db.items import Item
from engine.catalogue.catalogue import Catalogue
from engine.catalogue.filters import Filter
from engine.explaining.rule_effects import excluding
from engine.placements.settings import ListKind
from engine.recommending.list_kinds import is_of_kind, known_to
from engine.recommending.recommendations import Basis, ListRequest
from engine.rules.rule import Rule
from ml.affinity.ranking import PersonView
from ml.carts import in_cart
from ml.rests import rests_until
from ml.state import MICROSECONDS, State


class RemovalRule(StrEnum):
    """Why an item may not be in a list."""

    UNKNOWN_ITEM = "UNKNOWN_ITEM"
    WITHDRAWN = "WITHDRAWN"
    UNAVAILABLE = "UNAVAILABLE"
    PLACEMENT_FILTER = "PLACEMENT_FILTER"
    PLACEMENT_PRICE = "PLACEMENT_PRICE"
    PLACEMENT_REPEAT = "PLACEMENT_REPEAT"
    RULE = "RULE"
    NOT_ON_SALE = "NOT_ON_SALE"
    FILTER = "FILTER"
    CATEGORY = "CATEGORY"
    EXCLUDED = "EXCLUDED"
    ON_PAGE = "ON_PAGE"
    HIDDEN = "HIDDEN"
    DISLIKED = "DISLIKED"
    IN_CART = "IN_CART"
    RESTING = "RESTING"
    NOT_NEW = "NOT_NEW"
    VARIANT = "VARIANT"


class Removal(NamedTuple):
    """The first rule that keeps an item out."""

    rule: RemovalRule
    until: datetime | None = None  # when the rule ends by itself; None: it does not, or nobody knows
    cause: Item | None = None  # the variant that the rule is about
    rule_id: str | None = None  # of a rule of the shop


def removal_of(
    catalogue: Catalogue,
    request: ListRequest,
    about: Sequence[Rule],
    basis: Basis,
    state: State,
    number: int,
    dislikes_hold: timedelta,
) -> Removal | None:
    """The first rule that keeps a live item out of the list of `basis`; None when it may be in it.

    `about` are the shop's rules about the item.

    `state` is the person's own, `basis.view` lacks what they dislike. The order is from the shop's rules to those that
    the person's own acts cause.
    """
    if not catalogue.sellable(None, request.market)[number]:
        return Removal(RemovalRule.UNAVAILABLE)
    if found := _of_shop(catalogue, request, about, number):
        return found
    if request.filter is not None and not catalogue.mask(request.filter, request.market)[number]:
        return Removal(RemovalRule.FILTER)
    if request.category is not None and not catalogue.mask(Filter(categories=(request.category,)))[number]:
        return Removal(RemovalRule.CATEGORY)
    if number in catalogue.numbers_of(request.exclude):
        return Removal(RemovalRule.EXCLUDED)
    if number in catalogue.numbers_of(request.context_items):
        return Removal(RemovalRule.ON_PAGE)
    if number in state.hidden or _is_in_hidden_category(catalogue, state, number):
        return Removal(RemovalRule.HIDDEN)
    return (
        _of_person(basis.view, state, number, dislikes_hold)
        or _of_variants(catalogue, request, basis, number)
        or _of_repeats(catalogue, request, basis, state, number)
    )


def _of_shop(catalogue: Catalogue, request: ListRequest, about: Sequence[Rule], number: int) -> Removal | None:
    """Whether the placement, a rule or the kind of list does not want the item, whoever the person is."""
    placed = request.placement
    if placed is not None and placed.filter is not None and not catalogue.mask(placed.filter, request.market)[number]:
        return Removal(RemovalRule.PLACEMENT_FILTER)
    band = placed.band_in(request.market) if placed else None
    if band is not None and not catalogue.mask(band, request.market)[number]:
        return Removal(RemovalRule.PLACEMENT_PRICE)
    excluded_by = excluding(request.rules, about, number)
    if excluded_by is not None:
        return Removal(RemovalRule.RULE, rule_id=excluded_by)
    if not is_of_kind(catalogue, request.kind, request.market, number):
        return Removal(RemovalRule.NOT_ON_SALE)
    return None


def _is_in_hidden_category(catalogue: Catalogue, state: State, number: int) -> bool:
    hidden = state.choices.categories
    return bool(hidden) and bool(catalogue.matching(Filter(categories=hidden))[number])


def _of_person(view: PersonView, state: State, number: int, dislikes_hold: timedelta) -> Removal | None:
    if number in view.dislikes.hidden:
        said = int(state.opinions["disliked"][state.opinions["item"] == number].max(initial=0)) // MICROSECONDS
        return Removal(RemovalRule.DISLIKED, _moment(said + dislikes_hold.total_seconds()))
    if number in in_cart(view.state, view.as_of):
        return Removal(RemovalRule.IN_CART)
    if number in view.left_out:
        until = rests_until(view.ranker.universe if view.ranker else None, view.state, number)
        return Removal(RemovalRule.RESTING, None if until is None else _moment(until))
    return None


def _of_variants(catalogue: Catalogue, request: ListRequest, basis: Basis, number: int) -> Removal | None:
    """Whether a variant of the item is on the page or left out for what the person did."""
    others = np.concatenate([basis.view.left_out, catalogue.numbers_of(request.context_items)])
    return variant_among(catalogue, others[others < catalogue.size].tolist(), number)


def _of_repeats(catalogue: Catalogue, request: ListRequest, basis: Basis, state: State, number: int) -> Removal | None:
    """Whether the placement does not repeat the item, or the list has only what is new to the person."""
    if request.kind is ListKind.NEW_FOR_YOU and number in known_to(catalogue, state, request.viewed_items):
        return Removal(RemovalRule.NOT_NEW)
    if request.placement is None:
        return None
    universe = basis.view.ranker.universe if basis.view.ranker else None
    hidden = request.placement.repeats(catalogue, universe, state, basis.view.as_of)
    return Removal(RemovalRule.PLACEMENT_REPEAT) if hidden is not None and number in hidden else None


def variant_among(catalogue: Catalogue, numbers: list[int], number: int) -> Removal | None:
    """The removal of an item for the first of these items that is a variant of it."""
    code = catalogue.groups(np.array([number], np.uint32))[0]
    if not code or not numbers:
        return None
    same = np.flatnonzero(catalogue.groups(np.array(numbers, np.uint32)) == code)
    return Removal(RemovalRule.VARIANT, cause=catalogue.item(numbers[same[0]])) if len(same) else None


def _moment(second: float) -> datetime:
    return datetime.fromtimestamp(second, UTC)
