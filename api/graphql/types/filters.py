"""The filter of every list of items, as callers write it."""

from decimal import Decimal
from typing import Optional

import strawberry

from core.errors import InvalidInput
from engine.catalogue.filters import Filter

DEEPEST = 4  # filters inside filters
MOST_VALUES = 500  # ids, names and values in one filter, all levels together


@strawberry.input(description="Both ends included; prices are those of the market the list is for.")
class PriceRange:
    """From `min` to `max`."""

    min: Decimal | None = strawberry.field(default=None, description="Lowest price.")
    max: Decimal | None = strawberry.field(default=None, description="Highest price.")


@strawberry.input(description="An attribute of the item and the values wanted of it.")
class AttributeFilter:
    """Holds when the attribute has any of the values."""

    key: str = strawberry.field(description="Name of the attribute.")
    values: list[str] = strawberry.field(
        description="Wanted values as text; an attribute that is a list holds when any of its elements does."
    )


@strawberry.input(
    description="All parts that are given must hold; a list holds when any of its values does, so an empty list holds"
    " for no item. Filters apply before items are ranked: a filtered list is as long as an unfiltered one."
)
class ItemFilter:
    """Which items a list may hold."""

    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Only these items.")
    categories: list[str] | None = strawberry.field(default=None, description="Items in any of these categories.")
    brands: list[str] | None = strawberry.field(default=None, description="Items of any of these brands.")
    price: PriceRange | None = strawberry.field(default=None, description="Items with a price in this range.")
    available: bool | None = strawberry.field(default=None, description="Items that can, or cannot, be had.")
    attributes: list[AttributeFilter] | None = strawberry.field(
        default=None, description="Items on which every one of these holds."
    )
    not_: Optional["ItemFilter"] = strawberry.field(
        default=None, name="not", description="Items this does not hold for."
    )
    any_of: list["ItemFilter"] | None = strawberry.field(
        default=None, description="Items at least one of these holds for."
    )


def read_filter(given: ItemFilter | None) -> Filter | None:
    """The filter as plain values; raises InvalidInput when it is too large or nested too deep."""
    if given is None:
        return None
    if _values(given, DEEPEST) > MOST_VALUES:
        raise InvalidInput(f"A filter may name at most {MOST_VALUES} values.", field="filter")
    return _plain(given)


def _values(given: ItemFilter, depth: int) -> int:
    if depth == 0:
        raise InvalidInput(f"Filters may be nested at most {DEEPEST} deep.", field="filter")
    own = sum(len(values or ()) for values in (given.ids, given.categories, given.brands))
    inner = [*([given.not_] if given.not_ else []), *(given.any_of or ())]
    attributes = sum(1 + len(attribute.values) for attribute in given.attributes or ())
    return 1 + own + attributes + sum(_values(part, depth - 1) for part in inner)


def _plain(given: ItemFilter) -> Filter:
    price = given.price or PriceRange()
    if not all(bound.is_finite() for bound in (price.min, price.max) if bound is not None):
        raise InvalidInput("A price range ends at numbers.", field="filter.price")
    return Filter(
        ids=_tuple(given.ids),
        categories=_tuple(given.categories),
        brands=_tuple(given.brands),
        low=None if price.min is None else float(price.min),
        high=None if price.max is None else float(price.max),
        available=given.available,
        attributes=tuple((wanted.key, tuple(wanted.values)) for wanted in given.attributes or ()),
        without=None if given.not_ is None else _plain(given.not_),
        any_of=None if given.any_of is None else tuple(_plain(part) for part in given.any_of),
    )


def _tuple(values: list[str] | list[strawberry.ID] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
