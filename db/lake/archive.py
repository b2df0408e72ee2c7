"""The archive: events whose months were dropped from Postgres. They are only in the lake."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from core.contract import Person
from db.lake.days import Contents, Day, folder_of, read_contents
from db.lake.location import Lake
from db.postgres import Connection


class DroppedMonth(NamedTuple):
    """A month that was dropped from Postgres: how often, and how many events went with it."""

    month: date
    times: int
    rows: int


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose events are read: one person's ids, and when some of them were erased.

    An event from before its person's erasure does not count, even while the lake still has it.
    """

    people: frozenset[Person]
    erased: frozenset[tuple[Person, datetime]] = frozenset()


@dataclass(frozen=True, slots=True)
class ArchivedFile:
    """A file of a day in the archive."""

    day: date
    name: str  # inside the lake


@dataclass(slots=True)
class ArchivedDays:
    """The files of every dropped month that the lake has completely, newest first, and the months that it has not."""

    files: dict[date, list[ArchivedFile]] = field(default_factory=dict)  # by month
    missing: list[date] = field(default_factory=list)


async def dropped_months(connection: Connection) -> list[DroppedMonth]:
    """The months that were dropped from Postgres with events, newest first."""
    rows = await connection.fetch(
        "SELECT month, count(*) AS times, sum(rows)::bigint AS rows FROM lake_drops GROUP BY month"
        " HAVING sum(rows) > 0 ORDER BY month DESC"
    )
    return [DroppedMonth(row["month"], row["times"], row["rows"]) for row in rows]


def archived_days(lake: Lake, origin: str, dropped: Sequence[DroppedMonth]) -> ArchivedDays:
    """Where the events of the dropped months are. Raises StoreUnavailable when the lake cannot be read."""
    contents = read_contents(lake, [each.month for each in dropped])
    found = ArchivedDays()
    for month in dropped:
        days = [day for day in contents.days.values() if day.day.replace(day=1) == month.month]
        if days and all(_is_ours(contents, day, origin) for day in days):
            found.files[month.month] = list(_files(days, month.times))
        else:
            found.missing.append(month.month)
    return found


def _is_ours(contents: Contents, day: Day, origin: str) -> bool:
    return day.origin == origin and contents.whole(day)


def _files(days: Iterable[Day], times: int) -> Iterator[ArchivedFile]:
    """The files that were written before the last drop; Postgres still has what is in later ones."""
    for day in sorted(days, key=lambda day: day.day, reverse=True):
        for part in day.parts:
            if part.layer < times:
                yield ArchivedFile(day.day, f"{folder_of(day.day)}/{part.name}")
