"""The events of a person in files of the archive: counted, or read newest first, a bounded number of rows at a time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.contract import Event, EventType, Person
from db.events import HistoryPlace, Span, place_of
from db.lake.archive import ArchivedFile, Subject
from db.lake.location import Lake
from db.lake.parts import SCHEMA, open_part
from db.lake.people import KEYS, Ids, ids_of, may_hold, rows_of

_AT_ONCE: Final = 8_192  # rows
_MOMENTS: Final = ["occurred_at", "received_at"]


def count_events(lake: Lake, name: str, subject: Subject) -> Span:
    """How many events of a person a file has. Raises StoreUnavailable."""
    found = Span()
    for rows in _rows(lake, name, subject, [*KEYS.values(), *_MOMENTS]):
        moments = pc.min_max(rows["occurred_at"]).as_py()
        found = found.plus(Span(len(rows), _utc(moments["min"]), _utc(moments["max"])))
    return found


def newest_events(
    lake: Lake,
    files: Sequence[ArchivedFile],
    subject: Subject,
    types: Sequence[EventType] | None,
    before: HistoryPlace | None,
    limit: int,
) -> list[Event]:
    """The newest events of a person in these files, newest first, as `events_of_person` returns them.

    Raises StoreUnavailable.
    """
    newest: list[Event] = []
    for place, file in enumerate(files):
        if before is not None and file.day > before.occurred_at.astimezone(UTC).date():
            continue
        for rows in _rows(lake, file.name, subject, SCHEMA.names[:-1]):
            events = [_event(row) for row in rows.to_pylist()]
            wanted = [event for event in events if types is None or event.type in types]
            newest += [event for event in wanted if before is None or place_of(event) < before]
            newest = sorted(newest, key=place_of, reverse=True)[:limit]
        ends_day = place + 1 == len(files) or files[place + 1].day != file.day
        if ends_day and len(newest) >= limit:
            break
    return newest


def _rows(lake: Lake, name: str, subject: Subject, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of a person in a file, a bounded number at a time."""
    ids, erased = ids_of(subject.people), dict(subject.erased)
    with lake.translated(), lake.files.open(lake.path(name), "rb") as file:
        parquet = open_part(file, columns)
        groups = [at for at in range(parquet.num_row_groups) if may_hold(parquet.metadata.row_group(at), ids)]
        for batch in parquet.iter_batches(_AT_ONCE, row_groups=groups, columns=list(columns)):
            rows = pa.table(batch).filter(_kept(batch, ids, erased))
            if len(rows):
                yield rows


def _kept(batch: Any, ids: Ids, erased: Mapping[Person, datetime]) -> Any:
    mask = rows_of(batch, ids)
    for person, moment in erased.items():
        before = pa.scalar(moment, SCHEMA.field("occurred_at").type)
        occurred, received = (pc.fill_null(pc.less(batch[name], before), False) for name in _MOMENTS)
        mask = pc.and_not(mask, pc.and_(rows_of(batch, ids_of([person])), pc.or_(occurred, received)))
    return mask


def _event(row: dict[str, Any]) -> Event:
    """The event, not validated again, as from Postgres."""
    return Event.model_construct(
        **{
            **row,
            "type": EventType(row["type"]),
            "occurred_at": _utc(row["occurred_at"]),
            "received_at": _utc(row["received_at"]),
            "item_ids": None if row["item_ids"] is None else tuple(row["item_ids"]),
            "properties": None if row["properties"] is None else orjson.loads(row["properties"]),
        }
    )


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC)
