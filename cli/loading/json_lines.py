"""JSON lines in chunks: one object on each line; a broken line is set aside alone."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import orjson
import pyarrow as pa

from cli.loading.chunks import ODD, Chunk, Reject
from cli.loading.columns import FIELDS, LISTS, OBJECTS, Kind
from cli.loading.json_values import read_records
from cli.loading.shapes import ByName, Shape


def json_chunks(stream: BinaryIO, shape: ByName, position: Callable[[], int]) -> Iterator[Chunk]:
    """The lines, as many at a time as the shape says."""
    first = 1
    while lines := list(islice(stream, shape.size)):
        records, rejects = _parse(lines, first)
        read = read_records(shape.kind, records, shape.zone)
        columns = _event_columns(read.records, read.columns) if shape.kind == Kind.EVENTS else {}
        refused = rejects + read.rejects
        yield Chunk(read.lines, columns, read.records.__getitem__, refused, position(), rounded=read.rounded)
        first += len(lines)


def recipe_chunks(stream: BinaryIO, names: list[str], shape: Shape, position: Callable[[], int]) -> Iterator[Chunk]:
    """The lines, converted by a recipe that reads these names."""
    first = 1
    while lines := list(islice(stream, shape.size)):
        records, rejects = _parse(lines, first)
        columns = {name: pa.array(_texts(records, name), pa.string()) for name in names}
        yield shape.chunk(np.fromiter(records, np.int64, len(records)), columns, rejects, position())
        first += len(lines)


def _texts(records: dict[int, dict[str, Any]], name: str) -> list[str | None]:
    return [_plain(record.get(name)) for record in records.values()]


def _plain(value: Any) -> str | None:
    """A value as a CSV file writes it; a list of plain values as `a|b`."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and not any(isinstance(each, dict | list) for each in value):
        return "|".join(_plain(each) or "" for each in value)
    return orjson.dumps(value).decode()


def _parse(lines: list[bytes], first: int) -> tuple[dict[int, dict[str, Any]], list[Reject]]:
    records: dict[int, dict[str, Any]] = {}
    rejects: list[Reject] = []
    for number, line in enumerate(lines, first):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.strip():
                rejects.append(Reject(number, None, f"is not JSON: {error}"))
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
