"""A second file, such as the orders of a file of order lines, looked up by a column that both have."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import CHUNK, Chunk, Reject, WrongFile
from cli.loading.ids import read_ids
from cli.loading.sources import Sources
from cli.loading.typed_columns import texts_of

LEAD: Final = "join."
"""Stands before the name of a column of the joined file."""
MOST_LINES: Final = 2_000_000  # of a joined file: its columns that are read stay in memory


class JoinedColumns:
    """The shape of the joined file: its columns as they are."""

    size = CHUNK

    def __init__(self, names: Iterable[str], optional: Iterable[str]) -> None:
        self._sources = Sources(names, optional)

    def wanted(self, names: list[str]) -> list[str]:
        """The columns that the recipe reads. Raises WrongFile naming one that is missing."""
        return self._sources.in_header(names)

    def of_records(self, records: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
        """The columns that the recipe reads."""
        return self._sources.of_records(records)

    def chunk(
        self, lines: NDArray[np.int64], columns: Mapping[str, pa.Array], rejects: list[Reject], read: int
    ) -> Chunk:
        """The columns as they are."""
        return Chunk(lines, self._sources.of_table(columns, len(lines)), _no_record, rejects, read)


class JoinedFile:
    """The lines of the joined file by their key; memory grows with them."""

    def __init__(self, name: str, key: str, names: Iterable[str], chunks: Iterable[Chunk]) -> None:
        """`key`: its column with the keys; `names`: its columns that are read.

        Raises WrongFile for too many lines, or two with one key.
        """
        self.name = name
        self._rows: dict[str, int] = {}
        tables = [pa.table({each: pa.array([], pa.string()) for each in sorted(names)})]
        for chunk in chunks:
            if len(chunk.lines):
                keys = _keys(chunk.columns[key])
                self._add(key, keys.drop_null().to_pylist())
                tables.append(pa.table(dict(chunk.columns)).filter(keys.is_valid()))
        self._table = pa.concat_tables(tables[1:] or tables, promote_options="permissive").combine_chunks()

    def _add(self, key: str, values: list[str]) -> None:
        first = len(self._rows)
        if first + len(values) > MOST_LINES:
            raise WrongFile(f"it has more than {MOST_LINES:,} lines")
        fresh = dict(zip(values, range(first, first + len(values)), strict=True))
        if len(fresh) < len(values) or not self._rows.keys().isdisjoint(fresh):
            raise WrongFile(f"two of its lines have the same {key!r}; each needs its own")
        self._rows |= fresh

    def columns(self, keys: pa.Array) -> tuple[dict[str, pa.Array], NDArray[np.bool_]]:
        """The columns of the line that each key names, by `join.NAME`, and which keys no line has."""
        rows = np.array([self._rows.get(key, -1) for key in _keys(keys).to_pylist()], np.int64)
        places = pa.array(np.maximum(rows, 0), mask=rows < 0)
        named = zip(self._table.column_names, self._table.columns, strict=True)
        return {LEAD + name: pc.take(column.combine_chunks(), places) for name, column in named}, rows < 0


def _keys(column: pa.Array) -> pa.Array:
    """The keys of a column, read as ids: `17.0` of one file is `17` of the other."""
    return read_ids(texts_of(column), None).column


def _no_record(place: int) -> dict[str, Any]:
    raise IndexError(place)
