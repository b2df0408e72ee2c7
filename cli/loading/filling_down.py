"""Fills blank cells with the value above, where a file writes what a group of lines shares on its first line only."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.loading.recipes import FillDown
from cli.loading.typed_columns import texts_of


class FilledDown:
    """Fills the columns of one reading of a file, chunk by chunk.

    Lines that follow each other with one key are a group.
    """

    def __init__(self, rule: FillDown) -> None:
        self._rule = rule
        self._key: str | None = None  # of the last line
        self._above: dict[str, pa.Scalar] = {}  # the last value of each column in the group of the last line

    def filled(self, columns: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
        """The columns, with the value above in each blank cell of a named column, if it has the same key."""
        keys = self._keys(columns[self._rule.by])
        if not len(keys):
            return dict(columns)
        starts = _starts(keys)
        follows = keys[0].as_py() is not None and keys[0].as_py() == self._key
        filled = {name: self._one(name, columns[name], starts, follows=follows) for name in self._rule.columns}
        self._key = keys[-1].as_py()
        self._above = {name: column[-1] for name, column in filled.items()}
        return {**columns, **filled}

    def _keys(self, by: pa.Array) -> pa.Array:
        """The keys as texts. A blank one belongs to no group, or to the one above if the key itself is filled."""
        keys = texts_of(by)
        if self._rule.by not in self._rule.columns:
            return keys
        rows = np.maximum.accumulate(_given(keys))
        return pa.array([self._key if row < 0 else keys[row].as_py() for row in rows.tolist()], pa.string())

    def _one(self, name: str, column: pa.Array, starts: NDArray[np.int64], *, follows: bool) -> pa.Array:
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        given = np.maximum.accumulate(_given(texts_of(column)))
        known = given >= starts  # a value of the same group is above
        column = column.take(pa.array(np.where(known, given, 0), mask=~known))
        if not follows or name not in self._above:
            return column
        first = (starts == 0) & ~known
        above = pa.array([self._above[name].as_py()], column.type)
        return pa.concat_arrays([column, above]).take(pa.array(np.where(first, len(column), np.arange(len(column)))))


def _starts(keys: pa.Array) -> NDArray[np.int64]:
    """For each line, the first line of its group; a line without a key is alone."""
    codes = keys.dictionary_encode().indices.fill_null(-1).to_numpy()
    begins = np.ones(len(codes), bool)
    begins[1:] = (codes[1:] != codes[:-1]) | (codes[1:] < 0)
    return np.maximum.accumulate(np.where(begins, np.arange(len(codes)), 0))


def _given(texts: pa.Array) -> NDArray[np.int64]:
    """The number of each line with a value, -1 for the others."""
    given = texts.is_valid().to_numpy(zero_copy_only=False)
    return np.where(given, np.arange(len(given)), -1)
