"""The daily export of events to the lake, and the removal of old months. It may take long."""

import asyncio
from datetime import datetime
from itertools import chain

import structlog

from core import clock
from core.errors import StoreUnavailable
from core.settings import EventLake
from core.stores import log_unavailable
from db.erasures import Erasure, open_erasures, update_stores
from db.lake.due_exports import export_is_pending, finish_export
from db.lake.erasure import erase_people
from db.lake.export import export_events
from db.lake.location import Lake
from db.lake.owner import sole_writer
from db.lake.retention import drop_exported_months
from db.postgres import Pool
from db.receipts import PersonStore, StoreReport, StoreState

log = structlog.get_logger()


async def export_day(pool: Pool, settings: EventLake, period: str) -> None:
    """Bring the lake up to date and drop old months from Postgres, if the export of this day still waits.

    Raises LakeBusy while another process writes the lake; ForeignLake, InvalidInput and StoreUnavailable of the lake.
    """
    if settings.lake_url is None or not await export_is_pending(pool, period):
        return
    lake = Lake.at(settings.lake_url)
    async with sole_writer(pool) as connection:
        await _erase_first(pool, lake)
        done = await export_events(connection, lake, clock.now(), _quiet)
        log.info("events_exported", days=done.days, rows=done.rows, unchanged=done.unchanged, fewer=len(done.fewer))
        if settings.events_keep is not None:
            await drop_exported_months(connection, lake, settings.events_keep, clock.now())
        await finish_export(connection, period)


async def _erase_first(pool: Pool, lake: Lake) -> None:
    """Erase first: the export then checks the changed days and replaces damaged files."""
    try:
        await erase_from_lake(pool, lake, clock.now())
    except StoreUnavailable as error:
        log_unavailable(error, doing="erase people from the lake")


async def erase_from_lake(pool: Pool, lake: Lake, now: datetime) -> int:
    """Write the days of erased people again without them; returns how many days.

    People with events in flight wait for the next export. The caller is the sole writer of the lake. Raises
    StoreUnavailable when the lake cannot be read or written; then every erasure stays pending.
    """
    waiting = [
        each for each in await open_erasures(pool, None) if each.is_pending(PersonStore.LAKE) and _has_arrived(each)
    ]
    if not waiting:
        return 0
    people = list(chain.from_iterable(each.people for each in waiting))
    days = len(await asyncio.to_thread(erase_people, lake, people))
    report = StoreReport(StoreState.ERASED, now, f"Days written again for all people erased with this export: {days}.")
    for erasure in waiting:
        await update_stores(pool, erasure, {PersonStore.LAKE: report})
    return days


def _has_arrived(erasure: Erasure) -> bool:
    """Whether none of the person's events is in flight."""
    return not any(map(erasure.is_pending, (PersonStore.POSTGRES, PersonStore.OUTBOX, PersonStore.QUEUE)))


def _quiet(stage: str, done: int, of: int) -> None:
    """Report no progress."""
