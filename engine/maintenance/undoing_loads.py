"""Takes a load back: deletes the events that no other load names, from Postgres, people's states and the lake."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Final

from redis.asyncio import Redis

from core.errors import PenchantError
from db.cache import forget_bases
from db.lake.days import Day, read_contents
from db.lake.location import Lake
from db.lake.owner import origin_of, require_same_origin, sole_writer
from db.lake.removal import remove_events
from db.loads.deleting import delete_loaded, only_named_by
from db.loads.manifests import Manifest
from db.loads.records import EVENTS, LoadRecord, begin_undo, claimed_load, finish_undo, other_loads
from db.postgres import Pool

Report = Callable[[str, int, int], None]  # (stage, done, of)
_STAGE: Final = "taking back"
_HOW: Final = "load its file again first, which stores nothing twice and writes the manifest"


class NotUndoable(PenchantError):
    """This load cannot be taken back."""


async def undo_load(pool: Pool, id: str, lake: Lake | None, redis: Redis | None, report: Report) -> LoadRecord:
    """Delete the events of a load that no other load names. After an interruption it is called again.

    Every step may be repeated, so it starts from the beginning then; a load that is taken back stays so. The pool has
    two connections at least.

    Raises NotFound; LoadBusy while a file is being loaded; NotUndoable; LakeBusy and ForeignLake of the lake; and
    StoreUnavailable.
    """
    async with claimed_load(pool, id) as (connection, load):
        if load.kind not in (None, EVENTS):
            raise NotUndoable(f"{load.kind} are patches: what they replaced is not kept.")
        manifest = await asyncio.to_thread(_manifest_of, load)
        if load.undone_at is None:
            others = await other_loads(connection, id)
            named = await asyncio.to_thread(_manifests_beside, load, others)
            await begin_undo(connection, id)
            async with _days_of(pool, lake) as days:
                batches, done = only_named_by(manifest, named), 0
                while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                    await delete_loaded(connection, id, batch.keys)
                    if lake is not None:
                        await asyncio.to_thread(remove_events, lake, days, batch.keys)
                    done += batch.read
                    report(_STAGE, done, max(done, load.stored + load.duplicate))
            if redis is not None:
                await forget_bases(redis)
            load = await finish_undo(connection, id)
        await asyncio.to_thread(manifest.remove)
        return load


def _manifest_of(load: LoadRecord) -> Manifest:
    """Raises NotUndoable when the manifest is not there."""
    if load.manifest is None:
        raise NotUndoable(f"Load {load.id} of {load.file} has no manifest: {_HOW}.")
    manifest = Manifest.at(load.manifest, load.id)
    if load.undone_at is None and load.stored + load.duplicate and not manifest.parts():
        raise NotUndoable(f"The manifest of load {load.id} of {load.file} is not at {manifest.url}: {_HOW}.")
    return manifest


def _manifests_beside(load: LoadRecord, others: Sequence[LoadRecord]) -> list[Manifest]:
    """The manifests of the other loads, without those that cannot share an event with this one.

    Raises NotUndoable when one is missing that may.
    """
    return [_manifest_of(other) for other in others if other.manifest is not None or _may_share(load, other)]


def _may_share(load: LoadRecord, other: LoadRecord) -> bool:
    """Whether one of both found an event known that the other had stored: each counts such events."""
    ran_later = other.finished_at is None or other.finished_at >= load.started_at
    return load.duplicate > 0 or (ran_later and other.duplicate > 0)


@asynccontextmanager
async def _days_of(pool: Pool, lake: Lake | None) -> AsyncIterator[dict[date, Day]]:
    """The days of the lake, which no other process writes to while the block runs."""
    if lake is None:
        yield {}
        return
    async with sole_writer(pool) as connection:
        contents = await asyncio.to_thread(read_contents, lake)
        require_same_origin(await origin_of(connection), contents.days.values())
        yield contents.days
