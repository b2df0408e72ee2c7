"""One file into Postgres: the next chunk is read while the last one is stored, each chunk is one transaction."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self, TypeVar, cast

import asyncpg

from cli.loading.chunks import Chunk, Reject, WrongFile
from cli.loading.events import EventReader, Rows
from cli.loading.fields import Kind
from cli.loading.files import Reading, chunks_of, fingerprint
from cli.loading.occurrences import Occurrences
from cli.loading.patches import Patch, patches_of, store_patches
from cli.loading.rejects import RejectFile
from cli.loading.report import Report
from core import clock
from db.history import HistoryCopier, LoadProgress, begin_load, first_started_at, save_load

T = TypeVar("T")
_TAKEN = "its source, id and occurredAt came before with another body"
_NOT_KEPT = "events of this person from that time are not kept"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be loaded and how."""

    kind: Kind
    file: Path
    rejects: Path
    source: str = "load"
    reading: Reading = field(default_factory=Reading)


class Tally(NamedTuple):
    """What became of the file's lines. `duplicate` counts events known before; for items and users, older patches."""

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    resumed_after: int = 0  # lines done by an earlier load that was stopped
    skipped: Mapping[str, int] = MappingProxyType({})  # lines left out by the recipe's rules, by their column

    def plus(self, stored: int, duplicate: int, rejected: int) -> Self:
        """With these lines too."""
        return self._replace(
            stored=self.stored + stored, duplicate=self.duplicate + duplicate, rejected=self.rejected + rejected
        )

    def without(self, skipped: Mapping[str, int]) -> Self:
        """With these lines left out too."""
        return self._replace(skipped=Counter(self.skipped) + Counter(skipped)) if skipped else self


async def load_events(connection: asyncpg.Connection, order: Order, report: Report) -> Tally:
    """Store the events of the file once; a load that was stopped goes on where it stopped. Raises WrongFile."""
    id = _load_id(order)
    begun = await begin_load(connection, id, order.file.name)
    if begun is None:
        raise WrongFile("another process is loading it")
    history, progress, tally = HistoryCopier(connection), begun, Tally(resumed_after=begun.lines)
    async with _read(order, _events, await first_started_at(connection, id)) as steps:
        with RejectFile(order.rejects, begun.lines) as rejects:
            async for chunk, rows, refused in steps:
                tally = tally.without(chunk.skipped)
                if chunk.last_line > begun.lines:
                    await history.prepare_months(rows.months)
                    progress = await _store(history, id, progress, chunk, rows, refused, rejects)
                report.step(chunk.read, chunk.last_line)
    await save_load(connection, id, progress, finished=True)
    return tally.plus(*progress[1:])


async def load_patches(connection: asyncpg.Connection, order: Order, report: Report) -> Tally:
    """Apply the items or users of the file as patches. Raises WrongFile."""
    tally = Tally()
    async with _read(order, _patches, clock.now()) as steps:
        with RejectFile(order.rejects) as rejects:
            async for chunk, patches, refused in steps:
                stored = await store_patches(connection, order.kind, patches) if patches else 0
                rejects.write(refused)
                tally = tally.plus(stored, len(patches) - stored, len(refused)).without(chunk.skipped)
                report.step(chunk.read, chunk.last_line)
    return tally


async def check_file(order: Order, report: Report) -> Tally:
    """Read and judge the whole file, storing nothing; `stored` is what could be. Raises WrongFile."""
    tally = Tally()
    judge = _events if order.kind == Kind.EVENTS else _patches
    async with _read(order, judge, clock.now()) as steps:
        with RejectFile(order.rejects) as rejects:
            async for chunk, good, refused in steps:
                rejects.write(refused)
                count = len(good.lines) if isinstance(good, Rows) else len(good)
                tally = tally.plus(count, 0, len(refused)).without(chunk.skipped)
                report.step(chunk.read, chunk.last_line)
    return tally


@asynccontextmanager
async def _read(
    order: Order, judge: Callable[[Order, Iterator[Chunk]], Iterator[T]], now: datetime
) -> AsyncIterator[AsyncIterator[T]]:
    """The judged chunks of the file; `now` is what a recipe moves times to."""
    recipe = order.reading.recipe
    moved = recipe.moved(now) if recipe else timedelta()
    with chunks_of(order.file, order.kind, order.reading, moved) as chunks:
        async with aclosing(_ahead(judge(order, chunks))) as steps:
            yield steps


def _events(order: Order, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Rows, list[Reject]]]:
    with closing(Occurrences()) as occurrences:
        reader = EventReader(order.source, clock.now(), occurrences)
        for chunk in chunks:
            yield chunk, *reader.rows(chunk)


def _patches(order: Order, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, list[Patch], list[Reject]]]:
    for chunk in chunks:
        yield chunk, *patches_of(order.kind, chunk)


async def _store(
    history: HistoryCopier,
    id: str,
    before: LoadProgress,
    chunk: Chunk,
    rows: Rows,
    refused: list[Reject],
    rejects: RejectFile,
) -> LoadProgress:
    """Store a chunk and how far we are, both or neither; what is refused is on disk before."""
    async with history.connection.transaction():
        copied = await history.copy(rows.csv)
        refused = refused + [Reject(int(rows.lines[place]), "id", _TAKEN) for place in copied.conflicts]
        refused += [Reject(int(rows.lines[place]), "occurredAt", _NOT_KEPT) for place in copied.erased]
        rejects.write(refused)
        progress = LoadProgress(
            chunk.last_line,
            before.stored + copied.stored,
            before.duplicate + copied.duplicate,
            before.rejected + len(refused),
        )
        await save_load(history.connection, id, progress)
    return progress


def _load_id(order: Order) -> str:
    how = f"{fingerprint(order.file)}\x00{order.kind}\x00{order.source}\x00{order.reading}"
    return blake2b(how.encode(), digest_size=16).hexdigest()


async def _ahead(steps: Iterator[T]) -> AsyncGenerator[T]:
    """The steps, each next one made in a thread while the caller works on the last."""
    done = object()
    coming = asyncio.create_task(asyncio.to_thread(next, steps, done))
    try:
        while (step := await coming) is not done:
            coming = asyncio.create_task(asyncio.to_thread(next, steps, done))
            yield cast("T", step)
    finally:
        await asyncio.wait([coming])
        cast("Generator[T]", steps).close()
