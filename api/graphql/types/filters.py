"""The input ItemFilter, which every list of items takes, and its conversion to the engine's Filter."""

from decimal import Decimal
from typing import Annotated, Optional

import strawberry

from core.errors import InvalidInput
from engine.catalogue.filters import Filter

MAX_DEPTH = 4  # filters inside filters, the outermost counted
MAX_FILTERS = 50  # filters in one filter, all levels together, itself counted
MAX_VALUES = 500  # filters, ids, names and values in one filter, all levels together


@strawberry.input(description="A range of prices, both ends included. Prices are those of the market the list is for.")
class PriceRange:
    """From `min` to `max`."""

    min: Decimal | None = strawberry.field(default=None, description="The lowest price; null for no lower bound.")
    max: Decimal | None = strawberry.field(default=None, description="The highest price; null for no upper bound.")


@strawberry.input(description="Matches items that have the attribute with any of these values.")
class AttributeFilter:
    """An attribute and its wanted values."""

    key: str = strawberry.field(description="The name of the attribute.")
    values: list[str] = strawberry.field(
        description="The wanted values as text. An attribute that is a list matches when any of its elements does."
    )


@strawberry.input(
    description="Which items a list may contain. An item must match every part that is given; a part that is null or"
    " left out matches every item. A part that is a list matches when any of its values does, so an empty list matches"
    f" no item. At most {MAX_VALUES} values in all, and {MAX_FILTERS} filters on {MAX_DEPTH} levels. Items are filtered"
    " before they are ranked: a filtered list is as long as an unfiltered one if enough items match."
)
class ItemFilter:
    """Which items a list may contain."""

    ids: list[strawberry.ID] | None = strawberry.field(default=None, description="Items with one of these ids.")
    categories: list[str] | None = strawberry.field(
        default=None, description="Items in at least one of these categories."
    )
    brands: list[str] | None = strawberry.field(default=None, description="Items of one of these brands.")
    price: PriceRange | None = strawberry.field(default=None, description="Items with a price in this range.")
    available: bool | None = strawberry.field(
        default=None, description="True: items that are available. False: items that are not."
    )
    attributes: list[AttributeFilter] | None = strawberry.field(
        default=None, description="Items that match every one of these attribute filters."
    )
    not_: Optional["ItemFilter"] = strawberry.field(
        default=None, name="not", description="Items that do not match this filter."
    )
    any_of: list["ItemFilter"] | None = strawberry.field(
        default=None, description="Items that match at least one of these filters."
    )


FilterBy = Annotated[
    ItemFilter | None, strawberry.argument(description="Only items that match this filter; null for all items.")
]


def read_filter(filter: ItemFilter | None) -> Filter | None:
    """The engine's filter; raises InvalidInput when it has too many values or levels, or a price that is not finite."""
    if filter is None:
        return None
    if _count_values(filter, MAX_DEPTH) > MAX_VALUES:
        raise InvalidInput(f"A filter may have at most {MAX_VALUES} values.", field="filter")
    if _count_filters(filter) > MAX_FILTERS:
        raise InvalidInput(f"A filter may have at most {MAX_FILTERS} filters, itself counted.", field="filter")
    return _convert(filter)


def _count_values(filter: ItemFilter, levels: int) -> int:
    """The number of values in a filter of at most `levels` levels; raises InvalidInput when it has more levels."""
    if levels == 0:
        raise InvalidInput(f"Filters may be nested at most {MAX_DEPTH} deep.", field="filter")
    own = sum(len(values or ()) for values in (filter.ids, filter.categories, filter.brands))
    inner = [*([filter.not_] if filter.not_ else []), *(filter.any_of or ())]
    attributes = sum(1 + len(attribute.values) for attribute in filter.attributes or ())
    return 1 + own + attributes + sum(_count_values(part, levels - 1) for part in inner)


def _count_filters(filter: ItemFilter) -> int:
    """The filters in a filter, which is not too deep, and itself. Each is compared with the whole catalogue."""
    inner = [*([filter.not_] if filter.not_ else []), *(filter.any_of or ())]
    return 1 + sum(map(_count_filters, inner))


def _convert(filter: ItemFilter) -> Filter:
    price = filter.price or PriceRange()
    if not all(bound.is_finite() for bound in (price.min, price.max) if bound is not None):
        raise InvalidInput("The bounds of a price range must be finite numbers.", field="filter.price")
    return Filter(
        ids=_tuple(filter.ids),
        categories=_tuple(filter.categories),
        brands=_tuple(filter.brands),
        low=None if price.min is None else float(price.min),
        high=None if price.max is None else float(price.max),
        available=filter.available,
        attributes=tuple((wanted.key, tuple(wanted.values)) for wanted in filter.attributes or ()),
        without=None if filter.not_ is None else _convert(filter.not_),
        any_of=None if filter.any_of is None else tuple(_convert(part) for part in filter.any_of),
    )


def _tuple(values: list[str] | list[strawberry.ID] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
