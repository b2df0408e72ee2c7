"""The export of events to the lake: every day that is over, and again only when its events changed."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import structlog

from db.lake.day_contents import (
    DAY,
    MARK,
    TIMEOUT,
    DayContents,
    contents_by_day,
    midnight,
    sum_of,
)
from db.lake.days import Contents, Day, read_contents, remove_leftovers, write_day
from db.lake.late_events import without
from db.lake.location import Lake
from db.lake.owner import drops_by_month, origin_of, require_same_origin
from db.lake.parts import SCHEMA, SCHEMA_ID, PartWriter
from db.months import months_of_events, next_month

log = structlog.get_logger()
Report = Callable[[str, int, int], None]  # (stage, done, of)

EXPORT_DELAY: Final = timedelta(hours=1)  # after the end of a day, so that queued events of that day are stored
_AT_ONCE: Final = 16 * 1024 * 1024  # bytes
_SEPARATOR: Final = "\x1f"  # item ids have no control characters
_COLUMNS: Final = ", ".join(
    f"array_to_string(item_ids, E'\\x{ord(_SEPARATOR):02x}')" if name == "item_ids" else name for name in SCHEMA.names
)
_ROWS: Final = f"""
    SELECT {_COLUMNS}, {MARK} FROM events WHERE occurred_at >= $1 AND occurred_at < $2
    ORDER BY user_id COLLATE "C", CASE WHEN user_id IS NULL THEN anonymous_id END COLLATE "C", occurred_at,
        source COLLATE "C", id COLLATE "C"
"""
_TYPES: Final = {
    **{name: SCHEMA.field(name).type for name in SCHEMA.names},
    "item_ids": pa.string(),
    "mark": pa.int64(),
}


@dataclass
class Exported:
    """The outcome of an export. `fewer` are days of which Postgres holds less than the lake: they stay unchanged."""

    days: int = 0
    rows: int = 0
    unchanged: int = 0
    fewer: list[date] = field(default_factory=list)


async def export_events(
    connection: Any, lake: Lake, now: datetime, report: Report, since: date | None = None, until: date | None = None
) -> Exported:
    """Write every day from `since` on and before `until` that is over to the lake, unless the lake has it already.

    The connection is a `sole_writer`'s, outside a transaction. After an interruption, the days written so far count.

    Raises:
        ForeignLake: another database wrote to it.
        StoreUnavailable: the lake cannot be read or written.
    """
    contents = await asyncio.to_thread(read_contents, lake)
    origin = await origin_of(connection)
    require_same_origin(origin, contents.days.values())
    await asyncio.to_thread(remove_leftovers, lake, contents)
    done, drops = Exported(), await drops_by_month(connection)
    end = min(until or date.max, (now - EXPORT_DELAY).date())
    months = [month for month in await months_of_events(connection) if month < end]
    for count, month in enumerate(months):
        report("looking for changed months", count, len(months))
        start, stop = max(month, since or month), min(next_month(month), end)
        held = await contents_by_day(connection, start, stop) if start < stop else {}
        due = _due(contents, held, drops.get(month, 0), done)
        for number, day in enumerate(due):
            report(f"exporting {month:%Y-%m}", number, len(due))
            known = contents.days.get(day)
            written = await _export_day(connection, lake, day, known, origin, drops.get(month, 0), now)
            done.days, done.rows = done.days + 1, done.rows + written.held
            report(f"exporting {month:%Y-%m}", number + 1, len(due))
    report("looking for changed months", len(months), len(months))
    return done


def _due(contents: Contents, held: dict[date, DayContents], layer: int, done: Exported) -> list[date]:
    due = []
    for day, now in held.items():
        known = contents.days.get(day)
        if known is None or known.layer < layer:
            due.append(day)
        elif in_lake(known, now, layer) and contents.whole(known):
            done.unchanged += 1
        elif known.layer > layer or now.rows < known.held:
            log.warning("lake_holds_more", day=day.isoformat(), postgres=now.rows, lake=known.held)
            done.fewer.append(day)
        else:
            due.append(day)
    return due


def in_lake(known: Day, held: DayContents, layer: int) -> bool:
    """Whether the day's newest files are exactly what Postgres holds."""
    return (known.layer, known.schema, known.held, known.mark) == (layer, SCHEMA_ID, held.rows, held.mark)


async def _export_day(
    connection: Any, lake: Lake, day: date, known: Day | None, origin: str, layer: int, now: datetime
) -> Day:
    """Write the day's files, then its manifest. Parts of earlier layers stay as they are."""
    before = tuple(part for part in known.parts if part.layer < layer) if known else ()
    writer = PartWriter(lake, day, layer)
    try:
        rows = _Rows(writer, await asyncio.to_thread(without, lake, day, before))
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL datestyle TO 'ISO'")
            await connection.copy_from_query(
                _ROWS, midnight(day), midnight(day) + DAY, output=rows.take, format="csv", timeout=TIMEOUT
            )
        await rows.pass_on()
        parts = await asyncio.to_thread(writer.finish)
    except BaseException:
        writer.abandon()
        raise
    written = Day(day, origin, SCHEMA_ID, layer, rows.count, str(rows.mark), now, (*before, *parts))
    await connection.execute("SELECT")  # fails when the connection is lost, and with it the lock
    await asyncio.to_thread(write_day, lake, written, known)
    return written


@dataclass
class _Rows:
    """Passes rows from Postgres to the writer."""

    writer: PartWriter
    new: Callable[[pa.Table], pa.Table]
    count: int = 0
    mark: int = 0
    _waiting: bytearray = field(default_factory=bytearray)

    async def take(self, data: bytes) -> None:
        """Collect whole rows: the protocol sends one per message."""
        self._waiting += data
        if len(self._waiting) >= _AT_ONCE:
            await self.pass_on()

    async def pass_on(self) -> None:
        """Pass the collected rows to the writer."""
        if self._waiting:
            text, self._waiting = self._waiting, bytearray()
            await asyncio.to_thread(self._pass_on, text)

    def _pass_on(self, text: bytearray) -> None:
        rows = _table(text)
        self.count += len(rows)
        self.mark += sum_of(rows.column("mark").to_numpy())
        self.writer.add(self.new(rows.drop_columns(["mark"])))


def _table(text: bytearray) -> pa.Table:
    """Rows of CSV as Arrow, with the hash of each row."""
    read = pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(column_names=list(_TYPES)),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=_TYPES, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    place = read.schema.get_field_index("item_ids")
    lists = pc.split_pattern(read.column("item_ids"), _SEPARATOR)
    return read.set_column(place, SCHEMA.field("item_ids"), lists).cast(SCHEMA.append(pa.field("mark", pa.int64())))
