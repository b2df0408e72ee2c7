"""Requests about everything held of one person: what it is, and that it be erased."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from asyncpg import Pool
from redis.asyncio import Redis

from core import clock
from core.contract import Person, check_id
from core.errors import Forbidden, StoreUnavailable
from core.stores import log_unavailable
from db.cache import forget_people, forget_seen
from db.deletion import DeletedData
from db.erasures import Erasure, begin_erasure, erasure_by_id, update_stores
from db.personal_data import personal_data_of
from db.receipts import PersonStore, StoreReport, StoreState
from engine.intake.ingest import Ingest
from engine.viewer import Viewer

log = structlog.get_logger()


class Export(NamedTuple):
    """What was held of a person at a moment."""

    person: Person
    as_of: datetime
    profile: dict[str, Any]


async def export_user(pool: Pool, viewer: Viewer, id: str) -> Export:
    """Everything held of a user. Raises InvalidInput for what cannot be an id, Forbidden for a person's token."""
    check_client(viewer)
    person, now = Person("user", check_id(id, "id")), clock.now()
    return Export(person, now, await personal_data_of(pool, person.id))


async def erase_user(pool: Pool, redis: Redis, ingest: Ingest, viewer: Viewer, id: str) -> Erasure:
    """Erase a user, and the guests they were, wherever that can be done at once; the chores do the rest.

    Known or not: what they did before now is not kept from here on. Raises InvalidInput and Forbidden as `export_user`.
    """
    check_client(viewer)
    now = clock.now()
    erasure, deleted = await begin_erasure(pool, check_id(id, "id"), viewer.client_id, now)
    ingest.heed_erasure(now)
    told = {**deleted.reports(now), **await _erase_from_redis(redis, erasure, deleted, now)}
    log.info("user_erased", erasure=str(erasure.id), events=len(deleted.identities))
    return await update_stores(pool, erasure, told) or erasure


async def find_erasure(pool: Pool, viewer: Viewer, id: str) -> Erasure | None:
    """The receipt with this id; None for what is no id of a receipt. Raises Forbidden for a person's token."""
    check_client(viewer)
    try:
        return await erasure_by_id(pool, UUID(id))
    except ValueError:
        return None


def check_client(viewer: Viewer) -> None:
    """Raise Forbidden for a person's token, whatever its scopes: whom it is about is the shop's to check."""
    if viewer.person is not None:
        raise Forbidden("This needs a client's own token.")


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
