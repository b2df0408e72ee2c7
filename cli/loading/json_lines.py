"""JSON lines in chunks: one object on each line; a broken line is set aside alone."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from cli.loading.bounded_lines import taken
from cli.loading.chunks import NOT_TEXT, ODD, Chunk, Reject
from cli.loading.columns import AMOUNTS, FIELDS, LISTS, OBJECTS, Kind
from cli.loading.shapes import RecordShape


def json_chunks(lines: Iterator[bytes], kind: Kind, position: Callable[[], int], size: int) -> Iterator[Chunk]:
    """The lines, `size` at a time."""
    first = 1
    while block := taken(lines, size):
        records, rejects = _parse(block, first)
        places = np.fromiter(records, np.int64, len(records))
        values = list(records.values())
        columns = _event_columns(values) if kind == Kind.EVENTS else {}
        yield Chunk(places, columns, values.__getitem__, rejects, position())
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


def _event_columns(records: list[dict[str, Any]]) -> dict[str, pa.Array]:
    known = FIELDS[Kind.EVENTS]
    present = set().union(*records)
    columns = {name: _column(name, records) for name in present & known}
    if present <= known:
        return columns
    types = columns["type"].to_pylist() if "type" in columns else [ODD] * len(records)
    odd = [type if record.keys() <= known else ODD for record, type in zip(records, types, strict=True)]
    return {**columns, "type": pa.array(odd, pa.string())}


def _column(name: str, records: list[dict[str, Any]]) -> pa.Array:
    values = [record.get(name) for record in records]
    if name in OBJECTS | LISTS:
        texts = [None if value is None else ODD for value in values]
    elif name in AMOUNTS:
        texts = [_text(value, (int, float)) for value in values]
    elif name == "quantity":
        texts = [_text(value, (int,)) for value in values]
    else:
        texts = [value if value is None or type(value) is str else ODD for value in values]
    return pa.array(texts, pa.string())


def _text(value: Any, numbers: tuple[type, ...]) -> str | None:
    if value is None or type(value) is str:
        return value
    return str(value) if type(value) in numbers else ODD
