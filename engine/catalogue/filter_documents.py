"""A filter as callers write it, an ItemFilter of GraphQL or of a file, becomes the engine's Filter."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidInput
from engine.catalogue.filters import Filter

MAX_DEPTH = 4  # filters inside filters, the outermost counted
MAX_FILTERS = 50  # filters in one filter, all levels together, itself counted
MAX_VALUES = 500  # filters, ids, names and values in one filter, all levels together


def filter_of(filter: Mapping[str, Any]) -> Filter:
    """The engine's filter of an ItemFilter whose names and types are checked.

    Raises InvalidInput when it has too many values or levels, or a price that is not finite.
    """
    waiting, filters, used = [(filter, 1)], 1, 1
    while waiting:
        outer, level = waiting.pop()
        inner = [*([] if outer.get("not") is None else [outer["not"]]), *(outer.get("anyOf") or ())]
        lists = (outer.get(name) for name in ("ids", "categories", "brands"))
        filters += len(inner)
        used += len(inner) + sum(len(values or ()) for values in lists)
        used += sum(1 + len(attribute["values"]) for attribute in outer.get("attributes") or ())
        if used > MAX_VALUES:
            raise InvalidInput(f"A filter may have at most {MAX_VALUES} values.", field="filter")
        if filters > MAX_FILTERS:
            raise InvalidInput(f"A filter may have at most {MAX_FILTERS} filters, itself counted.", field="filter")
        if inner and level == MAX_DEPTH:
            raise InvalidInput(f"Filters may be nested at most {MAX_DEPTH} deep.", field="filter")
        waiting += [(one, level + 1) for one in inner]
    return _convert(filter)


def _convert(filter: Mapping[str, Any]) -> Filter:
    price = filter.get("price") or {}
    low, high = price.get("min"), price.get("max")
    if not all(bound.is_finite() for bound in (low, high) if bound is not None):
        raise InvalidInput("The bounds of a price range must be finite numbers.", field="filter.price")
    if any(bound < 0 for bound in (low, high) if bound is not None):
        raise InvalidInput("The bounds of a price range must not be negative.", field="filter.price")
    if low is not None and high is not None and low > high:
        raise InvalidInput("No price is in this range: min is greater than max.", field="filter.price")
    without, any_of = filter.get("not"), filter.get("anyOf")
    return Filter(
        ids=_tuple(filter.get("ids")),
        categories=_tuple(filter.get("categories")),
        brands=_tuple(filter.get("brands")),
        low=None if low is None else float(low),
        high=None if high is None else float(high),
        available=filter.get("available"),
        attributes=tuple((wanted["key"], tuple(wanted["values"])) for wanted in filter.get("attributes") or ()),
        without=None if without is None else _convert(without),
        any_of=None if any_of is None else tuple(_convert(part) for part in any_of),
    )


def _tuple(values: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if values is None else tuple(values)
