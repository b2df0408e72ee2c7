"""Exports everything stored about a person; erases Postgres and Redis at once.

`continuing_erasures.py` goes on with the other stores.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from redis.asyncio import Redis

from core import clock
from core.contract import Event, EventType, Person, check_id
from core.errors import StoreUnavailable
from core.stores import log_unavailable
from db.cache import forget_people, forget_seen
from db.deletion import DeletedData
from db.erasures import Erasure, begin_erasure_of, update_stores
from db.events import HistoryPlace, events_of_person, place_of
from db.identities import has_unassigned_events, people_of_user
from db.lake.archive import Subject
from db.personal_data import personal_data_of
from db.postgres import Connection
from db.receipts import PersonStore, StoreReport, StoreState
from db.tombstones import erasures_of
from engine.intake.ingest import EventIntake
from engine.privacy.archive import Archive, ArchivedEvents
from engine.viewer import Viewer, check_client

log = structlog.get_logger()


class PersonExport(NamedTuple):
    """Everything that was stored about a person at `as_of`. `archived` are the events that only the lake has.

    It is not `complete` while months are missing, or events of an old id or a guest are still to be assigned.
    """

    person: Person
    as_of: datetime
    profile: dict[str, Any]
    archived: ArchivedEvents
    complete: bool


async def export_user(pool: Connection, archive: Archive, viewer: Viewer, id: str) -> PersonExport:
    """Everything stored about a user, by any of their ids. Months that the lake cannot give are named as missing.

    Raises InvalidInput for an invalid id, Forbidden for a person's token.
    """
    check_client(viewer)
    person, now = Person("user", check_id(id, "id")), clock.now()
    people = await people_of_user(pool, person.id)
    erased = await erasures_of(pool, people)
    archived = await archive.find(pool, Subject(frozenset(people), frozenset(erased.items())))
    profile = await personal_data_of(pool, person.id)
    profile["events"] = archived.span.plus(profile["events"]).as_json()
    complete = not archived.missing and not await has_unassigned_events(pool, person.id)
    return PersonExport(person, now, profile, archived, complete)


async def exported_events(
    pool: Connection,
    archive: Archive,
    export: PersonExport,
    types: Sequence[EventType] | None,
    before: HistoryPlace | None,
    limit: int,
) -> list[Event]:
    """The newest events of an exported person, from Postgres and from the lake. Raises StoreUnavailable."""
    stored = await events_of_person(pool, export.person, types, before, limit)
    archived = await archive.newest(export.archived, types, before, limit)
    once = {place_of(event): event for event in (*archived, *stored)}  # late events may be in both
    return [once[place] for place in sorted(once, reverse=True)[:limit]]


async def erase_user(
    pool: Connection,
    redis: Redis,
    ingest: EventIntake,
    forget: Callable[[Collection[Person]], None],
    viewer: Viewer,
    id: str,
) -> Erasure:
    """Erase a user, by any of their ids, with old ids and joined guests; returns the receipt.

    Postgres and Redis are erased here, the other stores by periodic tasks. From now on, no store takes an event of
    theirs from before now, even if the user was unknown. `forget` drops what the caller's process remembers; others
    drop it within minutes, and answer nothing from it. Raises InvalidInput and Forbidden like `export_user`.
    """
    check_client(viewer)
    return await erase_person(pool, redis, ingest, forget, Person("user", check_id(id, "id")), viewer.client_id)


async def erase_person(
    pool: Connection,
    redis: Redis,
    ingest: EventIntake,
    forget: Callable[[Collection[Person]], None],
    person: Person,
    by: str,
) -> Erasure:
    """The same for anybody, whoever asked: the caller has checked that. A guest who is no user is erased alone."""
    now = clock.now()
    erasure, deleted = await begin_erasure_of(pool, person, by, now)
    ingest.remember_erasure(now)
    reports = {**deleted.reports(now), **await _erase_from_redis(redis, erasure, deleted, now)}
    forget(erasure.people)
    log.info("person_erased", erasure=str(erasure.id), events=len(deleted.identities))
    return await update_stores(pool, erasure, reports) or erasure


def read_erasure_id(viewer: Viewer, id: str) -> UUID | None:
    """The id of a receipt, None for a text that is none. Raises Forbidden for a person's token."""
    check_client(viewer)
    try:
        return UUID(id)
    except ValueError:
        return None


async def _erase_from_redis(
    redis: Redis, erasure: Erasure, deleted: DeletedData, now: datetime
) -> dict[PersonStore, StoreReport]:
    try:
        dropped = await forget_people(redis, erasure.people)
        await forget_seen(redis, deleted.identities)
    except StoreUnavailable as error:
        log_unavailable(error, doing="erase a user from Redis", erasure=str(erasure.id))
        return {}
    return {PersonStore.REDIS: StoreReport(StoreState.ERASED if dropped else StoreState.NOTHING_HELD, now)}
