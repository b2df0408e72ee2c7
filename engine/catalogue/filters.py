"""A filter over items, as a hashable value, so that the catalogue can keep its mask."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """An item matches when it meets every condition that is not None.

    One matching value of a list is enough. An empty list matches no item.
    `low` and `high` are the lowest and the highest price, and `currency` is that of the price; an item without a price
    does not match them. `attributes` pairs a key with its values.
    """

    ids: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    brands: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None
    available: bool | None = None
    attributes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    without: "Filter | None" = None
    any_of: "tuple[Filter, ...] | None" = None
    currency: str | None = None
    on_sale: bool = False  # only items whose price is below their list price; the request of a client cannot say it
