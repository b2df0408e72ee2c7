"""Columns of what rules read of an attribute: the number of each item, and a code for its text."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from engine.catalogue.packing import attribute_texts, attributes_of

MOST_FOLLOWED: Final = 20  # attributes: of more, the one that was not read for longest is read from the items again


class AttributeColumn:
    """One attribute of all items, by item number."""

    def __init__(self, key: str, size: int) -> None:
        self._key, self._texts = key, dict[str, int]()
        self.numbers = np.full(size, np.nan)  # NaN for an item without a number
        self.codes = np.zeros(size, np.uint32)  # of equal texts the same; 0 for an item without the attribute

    @classmethod
    def of(cls, key: str, packed: Sequence[bytes | None]) -> Self:
        """The column of packed items, by their numbers."""
        column, name = cls(key, len(packed)), orjson.dumps(key) + b":"
        for number, item in enumerate(packed):
            if item is not None and name in item:
                column.learn(number, attributes_of(item))
        return column

    def learn(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Note what the attributes of an item say."""
        value = attributes.get(self._key)
        text = next(iter(attribute_texts(value)), None)
        self.numbers[number] = _number(value)
        self.codes[number] = 0 if text is None else self._texts.setdefault(text, len(self._texts) + 1)

    def forget(self, removed: NDArray[np.bool_]) -> None:
        """Forget the items that are True in `removed`."""
        self.numbers[: len(removed)][removed] = np.nan
        self.codes[: len(removed)][removed] = 0

    def grow(self, size: int) -> None:
        """Make room for more items."""
        more = size - len(self.codes)
        if more > 0:
            self.numbers = np.concatenate([self.numbers, np.full(more, np.nan)])
            self.codes = np.concatenate([self.codes, np.zeros(more, np.uint32)])


class AttributeColumns:
    """The columns of the attributes that were read last."""

    def __init__(self) -> None:
        self._columns: OrderedDict[str, AttributeColumn] = OrderedDict()

    def find(self, key: str) -> AttributeColumn | None:
        """The column of an attribute, if it is kept."""
        if key in self._columns:
            self._columns.move_to_end(key)
        return self._columns.get(key)

    def keep(self, key: str, column: AttributeColumn) -> AttributeColumn:
        """Keep a column, which follows the items from now on."""
        self._columns[key] = column
        if len(self._columns) > MOST_FOLLOWED:
            self._columns.popitem(last=False)
        return column

    def learn(self, number: int, attributes: Mapping[str, Any]) -> None:
        """Note what the attributes of an item say."""
        for column in self._columns.values():
            column.learn(number, attributes)

    def forget(self, removed: NDArray[np.bool_]) -> None:
        """Forget the items that are True in `removed`."""
        for column in self._columns.values():
            column.forget(removed)

    def grow(self, size: int) -> None:
        """Make room for more items."""
        for column in self._columns.values():
            column.grow(size)


def _number(value: Any) -> float:
    """A number, or the one that a text says; NaN for anything else, such as the sizes `38_40`, which Python reads."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    if isinstance(value, str) and "_" in value:
        return math.nan
    try:
        number = float(value)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
