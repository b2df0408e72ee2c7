"""Finds lines that lack what the line above has, as in exports that write what an order has on its first line only."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.blanks import EXAMPLES, Blanks
from cli.loading.chunks import Lines
from cli.loading.columns import Kind
from cli.loading.conversions import matches
from cli.loading.reads import Reads
from cli.loading.recipes import Recipe
from cli.loading.typed_columns import texts_of

_LOOKED_AT: Final = 200  # lines of a chunk whose other columns are looked at
_KEYS: Final = {Kind.EVENTS: ("orderId",), Kind.ITEMS: ("groupId",), Kind.USERS: ()}
_NEEDED: Final = {
    Kind.EVENTS: ("userId", "occurredAt", "type"),
    Kind.ITEMS: ("title", "categories", "brand"),
    Kind.USERS: (),
}
Mask = NDArray[np.bool_]


class _Last(NamedTuple):
    """The group of the last line: its key, and whether it has a value of each column."""

    key: str
    given: Mapping[str, bool]


class BlankCells:
    """Counts them in one reading of a file, chunk by chunk. Lines that follow each other with one key are a group."""

    def __init__(self, recipe: Recipe, reads: Reads, kind: Kind) -> None:
        cells = {name: cell.column for name, cell in reads.cells.items() if cell.column and cell.value is None}
        plain = reads.used - reads.lists - {reads.each.column if reads.each else ""}
        dropping = {rule.column for rule in reads.early if rule.kept != _matches_blank(rule.pattern)}
        needed = {cells[name] for name in _NEEDED[kind] if name in cells and not reads.cells[name].otherwise}
        given = recipe.fill_down
        by = given.by if given else next((cells[name] for name in _KEYS[kind] if cells.get(name) in plain), "")
        self._needed = sorted((dropping | needed) & plain - {by})
        self._by = by or (self._needed[0] if kind == Kind.EVENTS and len(self._needed) > 1 else "")
        self._given = given.columns if given else ()
        self._read = sorted(plain)
        self._last = _Last("", {})

    def count(self, lines: Lines, columns: Mapping[str, pa.Array]) -> Blanks | None:
        """Those of a chunk."""
        if not self._by or not self._needed or not len(lines):
            return None
        if any(pa.types.is_nested(columns[name].type) for name in self._read):
            return None
        blank = {name: _blank(columns[name]) for name in {*self._needed, self._by}}
        if not any(blank[name].any() for name in self._needed):
            self._last = self._whole(columns[self._by], blank[self._by])
            return None
        groups = _Groups(columns[self._by], blank[self._by], self._last)
        lacking = {name: groups.lacking(name, blank[name]) for name in self._needed}
        self._last = groups.last()
        keyed = np.logical_or.reduce(list(lacking.values())) & ~blank[self._by]
        bare = np.logical_and.reduce(list(lacking.values())) & blank[self._by] & (len(lacking) > 1)
        places = np.flatnonzero(keyed | bare)
        if not len(places):
            return None
        shown = tuple((int(lines[place]), groups.key(place)) for place in places[:EXAMPLES].tolist())
        some = pa.array(places[:_LOOKED_AT])
        lost = {name: int(mask[places].sum()) for name, mask in lacking.items()}
        lost |= {
            name: len(places) for name in self._read if name not in lost and _blank(columns[name].take(some)).all()
        }
        return Blanks(self._by, len(places), +Counter(lost), shown, self._given)

    def _whole(self, keys: pa.Array, blank: Mask) -> _Last:
        """The last group of a chunk in which every line has all values."""
        rows = np.flatnonzero(~blank)
        key = _text(keys, int(rows[-1])) if len(rows) else self._last.key
        return _Last(key, dict.fromkeys(self._needed, True))


class _Groups:
    """The groups of a chunk. A blank key belongs to the group above."""

    def __init__(self, keys: pa.Array, blank: Mask, last: _Last) -> None:
        self._keys, self._last_key, self._given_above = keys, last.key, last.given
        self._key_rows = np.maximum.accumulate(np.where(blank, -1, np.arange(len(keys))))
        codes = keys.dictionary_encode().indices if not pa.types.is_dictionary(keys.type) else keys.indices
        codes = pc.fill_null(codes, -1).to_numpy(zero_copy_only=False)
        codes = np.where(self._key_rows < 0, -1, codes[self._key_rows])  # -1: the group of the last chunk, if any
        begins = np.ones(len(codes), bool)
        begins[1:] = codes[1:] != codes[:-1]
        begins[0] = not (self._key_rows[0] < 0 or self.key(0) == last.key)
        self._starts = np.maximum.accumulate(np.where(begins, np.arange(len(codes)), -1))  # -1: begun in the last chunk
        self._given: dict[str, bool] = {}

    def key(self, place: int) -> str:
        """The key of a line."""
        row = int(self._key_rows[place])
        return self._last_key if row < 0 else _text(self._keys, row)

    def lacking(self, name: str, blank: Mask) -> Mask:
        """The lines without a value of this column in whose group a line above has one."""
        given = np.maximum.accumulate(np.where(blank, -1, np.arange(len(blank))))
        above = np.where(self._starts < 0, (given >= 0) | self._given_above.get(name, False), given >= self._starts)
        self._given[name] = bool(above[-1])
        found: Mask = blank & above
        return found

    def last(self) -> _Last:
        """What the next chunk must know of the last group."""
        return _Last(self.key(len(self._key_rows) - 1), self._given)


def _text(column: pa.Array, row: int) -> str:
    return texts_of(column.slice(row, 1))[0].as_py() or ""


def _blank(column: pa.Array) -> Mask:
    """The cells without a value, or with blanks only."""
    blank = column.is_null()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        empty = pc.or_(pc.equal(pc.binary_length(column), 0), pc.utf8_is_space(column))
        blank = pc.or_(blank, pc.fill_null(empty, False))
    return np.asarray(blank.to_numpy(zero_copy_only=False), bool)


def _matches_blank(pattern: str) -> bool:
    return bool(matches(pa.array([None], pa.string()), pattern)[0].as_py())
