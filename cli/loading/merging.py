"""Merges lines with the same id and market into one record: the last value of each column."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cli.loading.chunks import Chunk
from cli.loading.item_checks import without_wrong_items
from cli.loading.typed_columns import recorder

_LINE = "\x00line"  # cannot collide with the name of a column


def merged_by_id(chunks: Iterator[Chunk], size: int) -> Iterator[Chunk]:
    """Chunks that hold only rejects while the file is read, then one line for each id, `size` at a time.

    Each column has the last good value that is given: by `updatedAt` where it exists, else by the order of the lines. A
    record has the number of the last line with its id. Lines of one id in several markets make a record for each
    market. Memory grows with the ids, not with the lines.
    """
    known: pa.Table | None = None
    read, cleared = 0, frozenset[str]()
    for chunk in map(without_wrong_items, chunks):
        read, cleared = chunk.read, chunk.cleared
        if len(chunk.lines):
            fresh = pa.table({**chunk.columns, _LINE: chunk.lines})
            known = _last_of_each(fresh if known is None else pa.concat_tables([known, fresh]), cleared)
        last, rounded = chunk.last_line, chunk.rounded
        yield Chunk(
            chunk.lines[:0], {}, _no_record, chunk.rejects, read, chunk.skipped, last, rounded, blanks=chunk.blanks
        )
    if known is not None:
        yield from _chunks(known.sort_by(_LINE), size, read, cleared)


def _chunks(known: pa.Table, size: int, read: int, cleared: frozenset[str]) -> Iterator[Chunk]:
    for start in range(0, known.num_rows, size):
        part = known.slice(start, size).combine_chunks()
        columns = {name: part[name].combine_chunks() for name in part.column_names}
        lines = columns.pop(_LINE).to_numpy()
        yield Chunk(lines, columns, recorder(columns, cleared), [], read)


def _last_of_each(lines: pa.Table, cleared: frozenset[str]) -> pa.Table:
    lines = lines.combine_chunks()
    if "updatedAt" in lines.column_names:
        moments = lines["updatedAt"].combine_chunks()
        lines = lines.take(pc.array_sort_indices(moments, null_placement="at_start"))  # a stable sort
    codes = _codes(lines)
    columns = {name: lines[name].combine_chunks() for name in lines.column_names}
    return pa.table({name: column.take(_last(codes, column, name in cleared)) for name, column in columns.items()})


def _codes(lines: pa.Table) -> NDArray[np.int32]:
    """A number for each id, or each id in a market."""
    keys = lines["id"].combine_chunks()
    if "market" in lines.column_names:
        keys = pc.binary_join_element_wise(keys, pc.fill_null(lines["market"].combine_chunks(), ""), "\x00")
    codes: NDArray[np.int32] = keys.dictionary_encode(null_encoding="encode").indices.to_numpy()
    return codes


def _last(codes: NDArray[np.int32], column: pa.Array, null_counts: bool) -> pa.Array:
    """For each id code, the row of its last value, null if none. From (lines,) to (codes,).

    A null is a value only where `null_counts`.
    """
    places = np.full(codes.max() + 1, -1, np.int64)
    given = np.arange(len(codes)) if null_counts else np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    places[codes[given]] = given  # for equal codes the last assignment stays
    return pa.array(places, mask=places < 0)


def _no_record(place: int) -> dict[str, object]:
    raise IndexError(place)
