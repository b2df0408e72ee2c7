"""What a caller wants of items, as plain hashable values: one mask is kept per filter that is asked for again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    """Every part that is not None must hold; a list holds when any of its values does, so an empty list never holds.

    `low` and `high` bound the price, both ends included; an item without a price fails them. `attributes` pairs a key
    with the values wanted of it.
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
