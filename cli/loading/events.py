"""Events of a chunk, checked and turned into rows to copy.

The checks of whole columns pass only lines that `core.contract.read_event` accepts. Every other line is read by
`read_event` itself, which decides on verdict, field and reason.
"""

from binascii import hexlify
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from cli.loading.chunks import TIME, Chunk, Reject
from cli.loading.column_checks import NEVER_PASSED, surely_valid
from cli.loading.ids import ids_of
from cli.loading.money import plain_decimals
from cli.loading.occurrences import Occurrences
from cli.loading.tallies import Tally
from core.contract import BODY, Event, read_event
from core.errors import InvalidInput
from db.history import COLUMNS
from db.lake.event_keys import KEYS

_TYPES: Final = {"occurred_at": TIME, "quantity": pa.int32(), "digest": pa.int64()}
_SCHEMA: Final = pa.schema([(name, _TYPES.get(name, pa.string())) for name in COLUMNS])
_ALIASES: Final = {name: Event.model_fields[name].alias or name for name in COLUMNS if name != "digest"}
_CSV: Final = pa_csv.WriteOptions(include_header=False, quoting_style="needed")


class Rows(NamedTuple):
    """Rows to copy: their line numbers, the CSV, the first day of every month, how many name each item, their keys."""

    lines: NDArray[np.int64]
    csv: bytes
    months: list[datetime]
    items: dict[str, int]
    keys: pa.Table


@dataclass(frozen=True, slots=True)
class EventReader:
    """Reads the chunks of one file, in their order."""

    source: str
    now: datetime
    occurrences: Occurrences
    tally: Tally = field(default_factory=Tally)

    def rows(self, chunk: Chunk) -> tuple[Rows, list[Reject]]:
        """The events of the chunk as rows, and its rejects, with the lines that could not be read."""
        columns = {name: chunk.columns.get(alias) for name, alias in _ALIASES.items()}
        passed, times = surely_valid(columns, self.now, len(chunk.lines))
        fast = self._table({**columns, "occurred_at": times}, passed)
        lines, events, rejects = self._read_alone(chunk, np.flatnonzero(~passed))
        table, repeated = self._with_ids(pa.concat_tables([fast, _event_table(events)]).combine_chunks())
        items = self.tally.add_events(table, repeated)
        every = np.concatenate((chunk.lines[passed], np.array(lines, np.int64)))
        keys = table.select(KEYS.names)
        return Rows(every, _csv(table), _months(table["occurred_at"]), items, keys), chunk.rejects + rejects

    def _table(self, columns: dict[str, pa.Array | None], passed: NDArray[np.bool_]) -> pa.Table:
        count = int(passed.sum())
        mask = pa.array(passed)
        kept = {
            name: pa.nulls(count) if column is None or name in NEVER_PASSED else column.filter(mask)
            for name, column in columns.items()
        }
        kept["source"] = pc.fill_null(kept["source"].cast(pa.string()), self.source)
        kept = {name: column.cast(_SCHEMA.field(name).type) for name, column in kept.items()}
        return pa.table({**kept, "digest": _digests(kept)}, schema=_SCHEMA)

    def _read_alone(self, chunk: Chunk, places: NDArray[np.int64]) -> tuple[list[int], list[Event], list[Reject]]:
        lines: list[int] = []
        events: list[Event] = []
        rejects: list[Reject] = []
        for place in places.tolist():
            line = int(chunk.lines[place])
            try:
                events.append(self._read(chunk.record(place)))
                lines.append(line)
            except InvalidInput as error:
                rejects.append(Reject(line, error.field, str(error)))
        return lines, events, rejects

    def _read(self, record: dict[str, Any]) -> Event:
        if record.get("occurredAt") is None:
            raise InvalidInput(
                "occurredAt is required: where the time is in another column, a recipe says so (--recipe)", "occurredAt"
            )
        if isinstance(record.get("itemIds"), list):
            record = {**record, "itemIds": _item_ids(record["itemIds"])}
        event = read_event(record, source=self.source, received_at=None)
        return event if record.get("id") is not None else event.model_copy(update={"id": None})

    def _with_ids(self, table: pa.Table) -> tuple[pa.Table, int]:
        """The table with an id for every line, and how many lines are equal to earlier ones.

        An id that the sender did not give is made from time, body and occurrence.
        """
        without_id = pc.is_null(table["id"]).to_numpy()
        if not without_id.any():
            return table, 0
        moments = table["occurred_at"].cast(pa.int64()).to_numpy()[without_id]
        digests = table["digest"].to_numpy()[without_id].astype(np.uint64)
        seen = self.occurrences.count(_mixed(digests ^ _mixed(moments.astype(np.uint64))))
        made = _hexadecimal(moments // 1000, _mixed(digests + seen.astype(np.uint64) * _GOLDEN))
        ids = pc.replace_with_mask(table["id"].combine_chunks(), pa.array(without_id), made)
        return table.set_column(table.column_names.index("id"), "id", ids), int((seen > 0).sum())


_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The numbers mixed over all 64 bits, one to one (the finalizer of splitmix64)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))


def _hexadecimal(milliseconds: NDArray[np.int64], numbers: NDArray[np.uint64]) -> pa.Array:
    """Ids of 32 hexadecimal digits that sort by time, so that the primary key grows at its end."""
    pairs = np.empty(len(numbers), [("time", ">u8"), ("number", ">u8")])
    pairs["time"], pairs["number"] = milliseconds, numbers
    ends = np.arange(0, 32 * (len(numbers) + 1), 32, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(hexlify(pairs.tobytes())))


def _digests(columns: dict[str, pa.Array]) -> pa.Array:
    """`Event.digest` of rows that passed the checks of columns, from the same bytes."""
    amounts = {name: plain_decimals(columns[name]) for name in ("unit_price", "value")}
    bodies = zip(*({**columns, **amounts}[name].to_pylist() for name in BODY), strict=True)
    packed = b"".join(blake2b(orjson.dumps(body), digest_size=8).digest() for body in bodies)
    return pa.array(np.frombuffer(packed, "<u8") >> np.uint64(1)).cast(pa.int64())


def _item_ids(values: list[Any]) -> list[Any]:
    try:
        return ids_of(values)
    except ValueError as error:
        raise InvalidInput(f"itemIds {error}", "itemIds") from None


def _event_table(events: Sequence[Event]) -> pa.Table:
    return pa.table(
        {name: pa.array([_cell(event, name) for event in events], _SCHEMA.field(name).type) for name in COLUMNS}
    )


def _cell(event: Event, name: str) -> Any:
    value = getattr(event, name)
    if value is None or name in {"type", "quantity", "occurred_at", "digest"}:
        return value
    if name == "item_ids":
        return "{" + ",".join('"' + id.replace("\\", "\\\\").replace('"', '\\"') + '"' for id in value) + "}"
    if name == "properties":
        return orjson.dumps(value).decode()
    return str(value)


def _csv(table: pa.Table) -> bytes:
    if not table.num_rows:
        return b""  # write_csv writes garbage for an empty table
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(table.set_column(*_moment_texts(table)), sink, _CSV)
    return bytes(sink.getvalue())


def _moment_texts(table: pa.Table) -> tuple[int, str, pa.ChunkedArray]:
    """The times as texts: fifteen times as fast as write_csv is for times with a zone."""
    texts = table["occurred_at"].cast(pa.timestamp("us")).cast(pa.string())
    return table.column_names.index("occurred_at"), "occurred_at", pc.binary_join_element_wise(texts, "Z", "")


def _months(moments: pa.ChunkedArray) -> list[datetime]:
    months = np.unique(moments.cast(pa.int64()).to_numpy().view("M8[us]").astype("M8[M]"))
    return [month.astype("M8[us]").item().replace(tzinfo=UTC) for month in months]
