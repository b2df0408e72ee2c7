"""Loads one file into Postgres: reads the next chunk while the last one is stored, each in one transaction."""

import asyncio
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar, cast

import pyarrow as pa

from cli.loading.chunks import Chunk, Reject, WrongFile
from cli.loading.columns import Kind
from cli.loading.events import EventReader, Rows
from cli.loading.files import Reading, chunks_of, fingerprint
from cli.loading.named_items import NamedItems
from cli.loading.occurrences import Occurrences
from cli.loading.patches import Patches, patches_of, store_patches
from cli.loading.rejects import RejectFile
from cli.loading.summary import Summary
from cli.loading.tallies import Tally
from cli.progress import FileProgress
from core import clock
from db.history import CopyResult, HistoryCopier
from db.loads.manifests import IDS, Manifest, encoded
from db.loads.records import Begun, LoadBusy, LoadProgress, begin_load, finish_load, save_load
from db.postgres import Connection

T = TypeVar("T")
NotePatches = Callable[[Patches, list[Reject]], Awaitable[None]]
_CONFLICT = "its source, id and occurredAt are stored with another body"
_ERASED = "events of this person from before their erasure are not stored"


@dataclass(frozen=True, slots=True)
class Load:
    """One file to load, and how. `manifests`: the address for its manifest, None where there is no place for it."""

    kind: Kind
    file: Path
    rejects: Path
    source: str = "load"
    reading: Reading = field(default_factory=Reading)
    complete: bool = False  # whether items that the file leaves out become unavailable
    force: bool = False  # also if they are many
    manifests: str | None = None


class LoadCounts(NamedTuple):
    """How many lines had which outcome. `duplicate`: events that are stored already, or older items and users."""

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    resumed_after: int = 0  # lines that an earlier load had done when it was stopped
    skipped: Mapping[str, int] = MappingProxyType({})  # lines left out by the recipe's rules, by their column
    rounded: int = 0  # amounts

    def plus(self, stored: int, duplicate: int, rejected: int) -> Self:
        """The counts with these lines added."""
        return self._replace(
            stored=self.stored + stored, duplicate=self.duplicate + duplicate, rejected=self.rejected + rejected
        )

    def plus_chunk(self, chunk: Chunk) -> Self:
        """The counts with the chunk's skipped lines and rounded amounts added."""
        if not chunk.skipped and not chunk.rounded:
            return self
        skipped = Counter(self.skipped) + Counter(chunk.skipped)
        return self._replace(skipped=skipped, rounded=self.rounded + chunk.rounded)


class Loaded(NamedTuple):
    """A load that has ended. Without a manifest it cannot be taken back; a dry run has no id either."""

    counts: LoadCounts
    summary: Summary
    id: str | None = None
    manifest: str | None = None


async def load_events(connection: Any, load: Load, report: FileProgress) -> Loaded:
    """Store the events of the file once; a load that was stopped resumes where it stopped. Raises WrongFile."""
    id, begun, manifest = await _begin(connection, load)
    counts, tally, named = LoadCounts(resumed_after=begun.progress.lines), Tally(load.reading.zone), NamedItems()
    async with _read(load, partial(_events, tally=tally), begun.started_at) as steps:
        with RejectFile(load.rejects, begun.progress.lines) as rejects:
            store = EventStore(HistoryCopier(connection), id, begun.progress, rejects, manifest)
            async for chunk, rows, refused in steps:
                counts, tally.blanks = counts.plus_chunk(chunk), tally.blanks.plus(chunk.blanks)
                await named.count(connection, rows.items)
                if chunk.last_line > begun.progress.lines:
                    await store.add(chunk, rows, refused)
                report(chunk.read, chunk.last_line)
    await finish_load(connection, id, store.progress, begun.manifest)
    summary = await _summary(connection, load, tally, rejects, counts.rounded, named)
    return Loaded(counts.plus(*store.progress[1:]), summary, id, manifest.url if manifest else None)


async def load_patches(
    connection: Any, load: Load, report: FileProgress, *, left_out: AsyncIterable[Sequence[str]] | None = None
) -> Loaded:
    """Apply the items or users of the file as patches. Raises WrongFile.

    The manifest of a complete file also names the items that are `left_out`.
    """
    id, begun, manifest = await _begin(connection, load)
    if manifest and left_out is not None:
        await _note_left_out(manifest, left_out)
    counts, tally, named, last = LoadCounts(), Tally(), NamedItems(), 0
    async with _read(load, _patches, clock.now()) as steps:
        with RejectFile(load.rejects) as rejects:
            async for chunk, patches, refused in steps:
                if manifest and patches.patches and load.kind == Kind.ITEMS:  # no ids of people
                    ids = _encoded_ids([patch["id"] for patch in patches.patches])
                    await asyncio.to_thread(manifest.add, chunk.last_line, ids)
                stored, grown = await store_patches(connection, load.kind, patches)
                tally.add_patches(patches.patches)
                tally.blanks = tally.blanks.plus(chunk.blanks)
                rejects.write(refused + grown)
                older = len(patches.patches) - stored - len(grown)
                counts = counts.plus(stored, older, len(refused) + len(grown)).plus_chunk(chunk)
                last = chunk.last_line
                report(chunk.read, last)
    progress = LoadProgress(last, counts.stored, counts.duplicate, counts.rejected)
    await finish_load(connection, id, progress, begun.manifest)
    if load.kind == Kind.ITEMS:
        await named.sample(connection)
    summary = await _summary(connection, load, tally, rejects, counts.rounded, named)
    return Loaded(counts, summary, id, manifest.url if manifest else None)


def _encoded_ids(ids: Sequence[str]) -> bytes:
    return encoded(pa.table([list(ids)], schema=IDS))


async def _note_left_out(manifest: Manifest, left_out: AsyncIterable[Sequence[str]]) -> None:
    number = 0
    async for ids in left_out:
        await asyncio.to_thread(manifest.add_left_out, number, _encoded_ids(ids))
        number += 1


async def _begin(connection: Connection, load: Load) -> tuple[str, Begun, Manifest | None]:
    """Claim the load; its id, its progress and its manifest. Raises WrongFile while others work on it."""
    id = _load_id(load)
    try:
        begun = await begin_load(connection, id, load.file.name, load.kind, load.manifests)
    except LoadBusy as error:
        raise WrongFile(str(error)) from None
    manifest = Manifest.at(begun.manifest, id) if begun.manifest else None
    if manifest and begun.anew:
        await asyncio.to_thread(manifest.remove)
    return id, begun, manifest


async def check_file(load: Load, report: FileProgress, note: NotePatches | None = None) -> Loaded:
    """Read and check the whole file, storing nothing; `stored` counts the valid lines. Raises WrongFile.

    `note` gets the items or users of each chunk, and its rejects.
    """
    counts, tally = LoadCounts(), Tally(load.reading.zone)
    check = partial(_events, tally=tally) if load.kind == Kind.EVENTS else _patches
    async with _read(load, check, clock.now()) as steps:
        with RejectFile(load.rejects) as rejects:
            async for chunk, good, refused in steps:
                rejects.write(refused)
                if isinstance(good, Patches):
                    tally.add_patches(good.patches)
                    if note is not None:
                        await note(good, refused)
                tally.blanks = tally.blanks.plus(chunk.blanks)
                lines = good.lines if isinstance(good, Patches | Rows) else ()
                counts = counts.plus(len(lines), 0, len(refused)).plus_chunk(chunk)
                report(chunk.read, chunk.last_line)
    return Loaded(counts, Summary(load.kind, tally, counts.rounded, rejects.reasons))


async def _summary(
    connection: Connection, load: Load, tally: Tally, rejects: RejectFile, rounded: int, named: NamedItems
) -> Summary:
    words = await named.words(connection)
    return Summary(load.kind, tally, rounded, rejects.reasons, named.known, named.unknown, words)


@asynccontextmanager
async def _read(
    load: Load, check: Callable[[Load, Iterator[Chunk]], Iterator[T]], now: datetime
) -> AsyncIterator[AsyncIterator[T]]:
    """The checked chunks of the file; a recipe moves times to `now`."""
    recipe = load.reading.recipe
    moved = recipe.moved(now) if recipe else timedelta()
    with chunks_of(load.file, load.kind, load.reading, moved) as chunks:
        async with aclosing(_made_ahead(check(load, chunks))) as steps:
            yield steps


def _events(load: Load, chunks: Iterator[Chunk], tally: Tally) -> Iterator[tuple[Chunk, Rows, list[Reject]]]:
    with closing(Occurrences()) as occurrences:
        reader = EventReader(load.source, clock.now(), occurrences, tally)
        for chunk in chunks:
            yield chunk, *reader.rows(chunk)


def _patches(load: Load, chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Patches, list[Reject]]]:
    for chunk in chunks:
        yield chunk, *patches_of(load.kind, chunk)


@dataclass(slots=True)
class EventStore:
    """Stores the chunks of a load: first keys and rejects, then events and progress in one transaction."""

    history: HistoryCopier
    id: str
    progress: LoadProgress
    rejects: RejectFile
    manifest: Manifest | None

    async def add(self, chunk: Chunk, rows: Rows, refused: list[Reject]) -> None:
        """Store a chunk. Raises StoreUnavailable."""
        written = asyncio.create_task(asyncio.to_thread(self._write_keys, chunk, rows))

        async def save(copied: CopyResult) -> None:
            more = [Reject(int(rows.lines[place]), "id", _CONFLICT) for place in copied.conflicts]
            more += [Reject(int(rows.lines[place]), "occurredAt", _ERASED) for place in copied.erased]
            await written
            self.rejects.write(refused + more)
            await self._save(chunk, copied, len(refused) + len(more))

        try:
            await self.history.store(rows.csv, rows.months, save)
        finally:
            await asyncio.wait([written])

    def _write_keys(self, chunk: Chunk, rows: Rows) -> None:
        if self.manifest and len(rows.keys):
            self.manifest.add(chunk.last_line, encoded(rows.keys))

    async def _save(self, chunk: Chunk, copied: CopyResult, rejected: int) -> None:
        before = self.progress
        progress = LoadProgress(
            chunk.last_line,
            before.stored + copied.stored,
            before.duplicate + copied.duplicate,
            before.rejected + rejected,
        )
        await save_load(self.history.connection, self.id, progress)
        self.progress = progress


def _load_id(load: Load) -> str:
    """The id that finds an earlier load of the file. The repr of `Reading` is part of it: keep the names in there."""
    how = f"{fingerprint(load.file)}\x00{load.kind}\x00{load.source}\x00{load.reading}"
    return blake2b(how.encode(), digest_size=16).hexdigest()


async def _made_ahead(steps: Iterator[T]) -> AsyncGenerator[T]:
    """The steps; the next one is made in a thread while the caller works on the last."""
    end = object()
    next_step = asyncio.create_task(asyncio.to_thread(next, steps, end))
    try:
        while (step := await next_step) is not end:
            next_step = asyncio.create_task(asyncio.to_thread(next, steps, end))
            yield cast("T", step)
    finally:
        await asyncio.wait([next_step])
        cast("Generator[T]", steps).close()
