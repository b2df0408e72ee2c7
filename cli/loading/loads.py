"""One file into Postgres: the next chunk is read while the last one is stored, each chunk is one transaction."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, TypeVar

import asyncpg

from cli.loading.chunks import Chunk, Reject, WrongFile
from cli.loading.events import EventReader, Rows
from cli.loading.fields import Kind
from cli.loading.files import Reading, chunks_of, fingerprint
from cli.loading.occurrences import Occurrences
from cli.loading.patches import patches_of, store_patches
from cli.loading.rejects import RejectFile
from cli.loading.report import Report
from core import clock
from db.history import History, LoadProgress, begin_load, save_load

T = TypeVar("T")
_TAKEN = "its source, id and occurredAt came before with another body"


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


async def load_events(connection: asyncpg.Connection, order: Order, report: Report) -> Tally:
    """Store the events of the file once; a load that was stopped goes on where it stopped. Raises WrongFile."""
    id = _load_id(order)
    begun = await begin_load(connection, id, order.file.name)
    if begun is None:
        raise WrongFile("another process is loading it")
    history, progress = History(connection), begun
    with chunks_of(order.file, order.kind, order.reading) as chunks, RejectFile(order.rejects, begun.lines) as rejects:
        async for chunk, (rows, refused) in _ahead(_event_steps(order, chunks)):
            if chunk.last_line > begun.lines:
                await history.prepare_months(rows.months)
                progress = await _store(history, id, progress, chunk, rows, refused, rejects)
            report.step(chunk.read, chunk.last_line)
    await save_load(connection, id, progress, finished=True)
    return Tally(*progress[1:], resumed_after=begun.lines)


async def load_patches(connection: asyncpg.Connection, order: Order, report: Report) -> Tally:
    """Apply the items or users of the file as patches. Raises WrongFile."""
    tally = Tally()
    with chunks_of(order.file, order.kind, order.reading) as chunks, RejectFile(order.rejects) as rejects:
        steps = ((chunk, *patches_of(order.kind, chunk)) for chunk in chunks)
        async for chunk, patches, refused in _ahead(steps):
            stored = await store_patches(connection, order.kind, patches)
            rejects.write(refused)
            tally = Tally(
                tally.stored + stored,
                tally.duplicate + len(patches) - stored,
                tally.rejected + len(refused),
            )
            report.step(chunk.read, chunk.last_line)
    return tally


async def check_file(order: Order, report: Report) -> Tally:
    """Read and judge the whole file, storing nothing; `stored` is what could be. Raises WrongFile."""
    tally = Tally()
    with chunks_of(order.file, order.kind, order.reading) as chunks, RejectFile(order.rejects) as rejects:
        async for chunk, good, refused in _ahead(_judged(order, chunks)):
            rejects.write(refused)
            tally = Tally(tally.stored + good, 0, tally.rejected + len(refused))
            report.step(chunk.read, chunk.last_line)
    return tally


def _event_steps(order: Order, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, tuple[Rows, list[Reject]]]]:
    reader = EventReader(order.source, clock.now(), Occurrences())
    return ((chunk, reader.rows(chunk)) for chunk in chunks)


def _judged(order: Order, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, int, list[Reject]]]:
    if order.kind == Kind.EVENTS:
        return ((chunk, len(rows.lines), refused) for chunk, (rows, refused) in _event_steps(order, chunks))
    judged = ((chunk, patches_of(order.kind, chunk)) for chunk in chunks)
    return ((chunk, len(patches), refused) for chunk, (patches, refused) in judged)


async def _store(
    history: History,
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


async def _ahead(steps: Iterator[T]) -> AsyncIterator[T]:
    """The steps, each next one made in a thread while the caller works on the last."""
    done = object()
    coming = asyncio.create_task(asyncio.to_thread(next, steps, done))
    try:
        while (step := await coming) is not done:
            coming = asyncio.create_task(asyncio.to_thread(next, steps, done))
            yield step  # type: ignore[misc]  # it is not `done`
    finally:
        await asyncio.wait([coming])
