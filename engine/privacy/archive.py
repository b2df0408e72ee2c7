"""Reads a person's oldest events from the lake: those whose months were dropped from Postgres."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, TypeVar

from core.bulkhead import Bulkhead
from core.contract import Event, EventType
from core.errors import InvalidInput, StoreUnavailable, Unanswerable
from core.stores import log_unavailable, time_limit
from db.events import HistoryPlace, Span
from db.lake.archive import (
    ArchivedFile,
    DroppedMonth,
    Subject,
    archived_days,
    dropped_months,
)
from db.lake.location import Lake
from db.lake.owner import origin_of
from db.postgres import Connection

TIME_LIMIT: Final = 2.0  # seconds of one search; search and reading together must end before the request does
READ_LIMIT: Final = 1.5  # seconds to read a page
Found = TypeVar("Found")
Spans = dict[str, Span]  # by file name; a file never changes
AT_ONCE: Final = 2  # searches
WAITING: Final = 8
PATIENCE: Final = 0.5  # seconds
MOST_SUBJECTS: Final = 32  # whose searched files are remembered: a search that took too long continues there


_NONE: Final = Span()


@dataclass(frozen=True, slots=True)
class ArchivedEvents:
    """A person's events in the lake. `missing` are the months that could not be read, as YYYY-MM, oldest first."""

    subject: Subject
    files: Sequence[ArchivedFile] = ()  # those with events of the person, newest first
    span: Span = _NONE
    missing: Sequence[str] = ()


class Archive:
    """Searches the lake for people, few at a time and each for a short time, in threads of its own."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url
        self._threads = ThreadPoolExecutor(AT_ONCE, "archive")
        self._places = Bulkhead(AT_ONCE, waiting=WAITING, patience=PATIENCE, refuse=_busy)
        self._searched: OrderedDict[Subject, Spans] = OrderedDict()

    def close(self) -> None:
        """Let no new search begin."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def find(self, connection: Connection, subject: Subject) -> ArchivedEvents:
        """Find a person's events. Months that cannot be read in time are missing, and so is every one without a lake.

        Raises StoreUnavailable when Postgres is away.
        """
        dropped = await dropped_months(connection)
        if not dropped:
            return ArchivedEvents(subject)
        if self._url is not None:
            origin = await origin_of(connection)
            try:
                spans = self._remembered(subject)
                return await self._run(TIME_LIMIT + 0.2, _search, self._url, origin, subject, dropped, spans)
            except (StoreUnavailable, InvalidInput) as error:
                unavailable = error if isinstance(error, StoreUnavailable) else StoreUnavailable("lake", str(error))
                log_unavailable(unavailable, doing="search the lake for a person")
        return ArchivedEvents(subject, missing=_named(dropped))

    async def newest(
        self, found: ArchivedEvents, types: Sequence[EventType] | None, before: HistoryPlace | None, limit: int
    ) -> list[Event]:
        """The newest events of those found, at most `limit`. Raises StoreUnavailable."""
        if not found.files or self._url is None:
            return []
        arguments = (Lake.at(self._url), found.files, found.subject, types, before, limit)
        return await self._run(READ_LIMIT, _newest, *arguments)

    async def _run(self, seconds: float, work: Callable[..., Found], *arguments: object) -> Found:
        async with self._places.place(), time_limit("lake", seconds):
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _remembered(self, subject: Subject) -> Spans:
        spans = self._searched.setdefault(subject, {})
        self._searched.move_to_end(subject)
        if len(self._searched) > MOST_SUBJECTS:
            self._searched.popitem(last=False)
        return spans


def _search(url: str, origin: str, subject: Subject, dropped: Sequence[DroppedMonth], known: Spans) -> ArchivedEvents:
    until = monotonic() + TIME_LIMIT
    lake = Lake.at(url)
    days = archived_days(lake, origin, dropped)
    files, total, missing = list[ArchivedFile](), Span(), list[DroppedMonth]()
    for month in dropped:
        named = days.files.get(month.month)
        span = None if named is None else _span(lake, named, subject, known, until)
        if named is None or span is None:
            missing.append(month)
            continue
        total = total.plus(span)
        files += [file for file in named if known[file.name].events]
    return ArchivedEvents(subject, files, total, _named(missing))


def _span(lake: Lake, files: Sequence[ArchivedFile], subject: Subject, known: Spans, until: float) -> Span | None:
    """The events of one month; None when it cannot be read, or not in time."""
    from db.lake.archived_events import count_events  # loads pyarrow, which a gateway seldom needs

    total = Span()
    for file in files:
        if file.name not in known:
            if monotonic() > until:
                return None
            try:
                known[file.name] = count_events(lake, file.name, subject)
            except StoreUnavailable as error:
                log_unavailable(error, doing="search a month of the lake for a person")
                return None
        total = total.plus(known[file.name])
    return total


def _newest(*arguments: Any) -> list[Event]:
    from db.lake.archived_events import newest_events  # loads pyarrow, which a gateway seldom needs

    return newest_events(*arguments)


def _named(months: Sequence[DroppedMonth]) -> list[str]:
    return sorted(f"{each.month:%Y-%m}" for each in months)


def _busy() -> Unanswerable:
    return Unanswerable("lake", "Too many people are being exported: try again in a moment.")
