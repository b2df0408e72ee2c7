"""Finds lines that lack what the line above has, as in exports that write what an order has on its first line only."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cli.loading.blanks import EXAMPLES, Blanks
from cli.loading.chunks import Lines
from cli.loading.columns import Kind
from cli.loading.conversions import matches
from cli.loading.filling_down import FilledDown
from cli.loading.reads import Reads
from cli.loading.recipes import FillDown, Recipe
from cli.loading.typed_columns import texts_of

_KEYS: Final = {Kind.EVENTS: ("orderId",), Kind.ITEMS: ("groupId",), Kind.USERS: ()}
_NEEDED: Final = {
    Kind.EVENTS: ("userId", "occurredAt", "type"),
    Kind.ITEMS: ("title", "categories", "brand"),
    Kind.USERS: (),
}


class BlankCells:
    """Counts them in one reading of a file, chunk by chunk."""

    def __init__(self, recipe: Recipe, reads: Reads, kind: Kind) -> None:
        cells = {name: cell.column for name, cell in reads.cells.items() if cell.column and cell.value is None}
        plain = reads.used - reads.lists - {reads.each.column if reads.each else ""}
        dropping = {rule.column for rule in reads.early if rule.kept != _matches_blank(rule.pattern)}
        needed = {cells[name] for name in _NEEDED[kind] if name in cells and not reads.cells[name].otherwise}
        given = recipe.fill_down
        by = given.by if given else next((cells[name] for name in _KEYS[kind] if cells.get(name) in plain), None)
        self._needed = sorted((dropping | needed) & plain - {by})
        self._by = by or (self._needed[0] if kind == Kind.EVENTS and len(self._needed) > 1 else None)
        self._given = given.columns if given else ()
        self._read = sorted(plain)
        self._filled = FilledDown(FillDown(by=self._by, columns=tuple(self._read))) if self._by else None

    def count(self, lines: Lines, columns: Mapping[str, pa.Array]) -> Blanks | None:
        """Those of a chunk."""
        if self._filled is None or self._by is None or not len(lines):
            return None
        if any(pa.types.is_nested(columns[name].type) for name in self._read):
            return None
        blank = {name: _blank(columns[name]) for name in {*self._needed, self._by}}
        if not any(blank[name].any() for name in self._needed):
            self._filled.filled({name: columns[name].slice(len(lines) - 1) for name in self._read})
            return None
        filled = self._filled.filled({name: columns[name] for name in self._read})
        found = {name: blank[name] & ~_blank(filled[name]) for name in self._needed}
        keyed = np.logical_or.reduce(list(found.values())) & ~blank[self._by]
        bare = np.logical_and.reduce(list(found.values())) & blank[self._by] & (len(found) > 1)
        places = np.flatnonzero(keyed | bare)
        if not len(places):
            return None
        keys = texts_of(filled[self._by]).take(pa.array(places[:EXAMPLES])).to_pylist()
        lost = Counter({name: int(_lost(columns[name], filled[name])[places].sum()) for name in self._read})
        shown = tuple(zip(lines[places[:EXAMPLES]].tolist(), (key or "" for key in keys), strict=True))
        return Blanks(self._by, len(places), +lost, shown, self._given)


def _blank(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(texts_of(column).is_null().to_numpy(zero_copy_only=False), bool)


def _lost(column: pa.Array, filled: pa.Array) -> NDArray[np.bool_]:
    return _blank(column) & ~_blank(filled)


def _matches_blank(pattern: str) -> bool:
    return bool(matches(pa.array([None], pa.string()), pattern)[0].as_py())
