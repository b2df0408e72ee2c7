"""The names of a matrix's columns: columns are filled and read by name, never by position."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value")
Number = TypeVar("Number", bound=np.generic)


class Columns(tuple[str, ...]):
    """Names in the order of the columns. It is a tuple, so `index` gives the position of one name."""

    __slots__ = ()

    def ordered(self, values: Mapping[str, Value]) -> list[Value]:
        """The values in the order of the columns. Raises `ValueError` unless exactly these names are given."""
        if len(values) != len(self) or not values.keys() >= set(self):
            raise ValueError(f"columns {sorted(values)} are given, {sorted(self)} are needed")
        return [values[name] for name in self]

    def read(self, matrix: NDArray[Number], name: str) -> NDArray[Number]:
        """One column of a matrix (..., columns), as a view."""
        column: NDArray[Number] = matrix[..., self.index(name)]
        return column

    def span(self, names: Sequence[str]) -> slice:
        """The place of neighbouring columns, to be computed once. Raises `ValueError` when they are not neighbours."""
        start = self.index(names[0])
        if self[start : start + len(names)] != tuple(names):
            raise ValueError(f"columns {list(names)} are not side by side in {list(self)}")
        return slice(start, start + len(names))
