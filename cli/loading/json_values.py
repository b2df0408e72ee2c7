"""What the values of JSON records mean: as in columns of the other formats."""

from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from cli.loading.chunks import ODD, Lines, Reject
from cli.loading.columns import FIELDS, IDS, LISTS, NUMBERS, OBJECTS, Kind
from cli.loading.ids import id_text
from cli.loading.values import Rules, read_values, rejects_of, without_faults

_UNREAD: Final = LISTS | OBJECTS | {"available"}


class Records(NamedTuple):
    """Records with their values read, the columns that were read, and the rejects."""

    lines: Lines
    records: list[dict[str, Any]]
    columns: dict[str, pa.Array]
    rejects: list[Reject]
    rounded: int


def read_records(kind: Kind, numbered: dict[int, dict[str, Any]], zone: ZoneInfo | None) -> Records:
    """The records by their line numbers, with texts, ids, numbers and times as the contracts write them.

    A value that is neither a text nor a number stays: the contract decides about it.
    """
    lines = np.fromiter(numbered, np.int64, len(numbered))
    records = list(numbered.values())
    names = sorted(set().union(*records) & FIELDS[kind] - _UNREAD)
    columns = {name: pa.array([_text(name, record.get(name)) for record in records], pa.string()) for name in names}
    values = read_values(columns, Rules(zone))
    rejects = rejects_of(lines, values)
    for name, column in values.columns.items():
        _write_back(name, records, column)
    good, kept = without_faults(lines, values)
    records = [record for place, record in enumerate(records) if place not in values.faults]
    return Records(good, records, kept, rejects, values.rounded)


def _text(name: str, value: Any) -> str | None:
    if name in IDS or name in NUMBERS:
        return id_text(value)
    return value if value is None or type(value) is str else ODD


def _write_back(name: str, records: list[dict[str, Any]], column: pa.Array) -> None:
    """Put the values that were read into the records; a word for no value takes the field away."""
    for record, value in zip(records, column.to_pylist(), strict=True):
        given = record.get(name)
        if value is None:
            if given is not None:
                del record[name]
        elif value != given and value != ODD:
            record[name] = value
