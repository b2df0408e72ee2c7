"""JSON lines in chunks: one object on each line; a broken line is set aside alone."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from cli.loading.bounded_lines import taken
from cli.loading.chunks import NOT_TEXT, ODD, Chunk, Reject
from cli.loading.columns import FIELDS, LISTS, OBJECTS, Kind
from cli.loading.json_values import read_records
from cli.loading.shapes import ByName, RecordShape


def json_chunks(lines: Iterator[bytes], shape: ByName, position: Callable[[], int]) -> Iterator[Chunk]:
    """The lines, as many at a time as the shape says."""
    first = 1
    while block := taken(lines, shape.size):
        records, rejects = _parse(block, first)
        read = read_records(shape.kind, records, shape.zone)
        columns = _event_columns(read.records, read.columns) if shape.kind == Kind.EVENTS else {}
        refused = rejects + read.rejects
        yield Chunk(read.lines, columns, read.records.__getitem__, refused, position(), rounded=read.rounded)
        first += len(block)


def recipe_chunks(lines: Iterator[bytes], shape: RecordShape, position: Callable[[], int]) -> Iterator[Chunk]:
    """The lines, converted by a recipe."""
    first = 1
    while block := taken(lines, shape.size):
        records, rejects = _parse(block, first)
        columns = shape.of_records(list(records.values()))
        yield shape.chunk(np.fromiter(records, np.int64, len(records)), columns, rejects, position())
        first += len(block)


def record_chunks(
    records: Iterator[dict[str, Any]], shape: RecordShape, position: Callable[[], int]
) -> Iterator[Chunk]:
    """Records that another format wrote, numbered from 1, converted by a recipe."""
    first = 1
    while block := list(islice(records, shape.size)):
        lines = np.arange(first, first + len(block), dtype=np.int64)
        yield shape.chunk(lines, shape.of_records(block), [], position())
        first += len(block)


def _parse(lines: list[bytes], first: int) -> tuple[dict[int, dict[str, Any]], list[Reject]]:
    records: dict[int, dict[str, Any]] = {}
    rejects: list[Reject] = []
    for number, line in enumerate(lines, first):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.strip():
                reason = NOT_TEXT if "UTF-8" in str(error) else f"is not JSON: {error}"
                rejects.append(Reject(number, None, reason))
            continue
        if isinstance(record, dict):
            records[number] = record
        else:
            rejects.append(Reject(number, None, "is not a JSON object"))
    return records, rejects


def _event_columns(records: list[dict[str, Any]], read: dict[str, pa.Array]) -> dict[str, pa.Array]:
    known = FIELDS[Kind.EVENTS]
    present = set().union(*records)
    columns = {**{name: _column(name, records) for name in (present & known) - read.keys()}, **read}
    if present <= known:
        return columns
    types = columns["type"].to_pylist() if "type" in columns else [ODD] * len(records)
    odd = [type if record.keys() <= known else ODD for record, type in zip(records, types, strict=True)]
    return {**columns, "type": pa.array(odd, pa.string())}


def _column(name: str, records: list[dict[str, Any]]) -> pa.Array:
    values = [record.get(name) for record in records]
    if name in OBJECTS | LISTS:
        texts = [None if value is None else ODD for value in values]
    else:
        texts = [value if value is None or type(value) is str else ODD for value in values]
    return pa.array(texts, pa.string())
