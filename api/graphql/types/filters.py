"""The input ItemFilter, which every list of items takes, and its conversion to the engine's Filter."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Optional, cast

import strawberry
from strawberry.types import get_object_definition
from strawberry.types.arguments import InputContext

from api.graphql.types.bounds import AtMost
from core.errors import InvalidInput
from engine.catalogue.filter_documents import MAX_DEPTH, MAX_FILTERS, MAX_VALUES, filter_of
from engine.catalogue.filters import Filter


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
    " before they are ranked: a filtered list is as long as an unfiltered one if enough items match.",
    directives=[AtMost(elements=MAX_VALUES, levels=MAX_DEPTH)],
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
    """The engine's filter, which `_read_once` has made of the input already."""
    return cast(Filter | None, filter)


def _read_once(_: type, filter: Mapping[str, Any], context: InputContext) -> Filter:
    """The engine's filter, made once per request for all fields that use it.

    Raises InvalidInput when it has too many values or levels, or a price that is not finite.
    """
    assert context.info is not None
    read: dict[int, tuple[Mapping[str, Any], Filter | InvalidInput]] = context.info.context.filters
    if id(filter) not in read:
        try:
            read[id(filter)] = filter, filter_of(filter)
        except InvalidInput as error:
            read[id(filter)] = filter, error
    found = read[id(filter)][1]
    if isinstance(found, InvalidInput):
        raise InvalidInput(str(found), found.field)
    return found


get_object_definition(ItemFilter, strict=True).from_input = _read_once
