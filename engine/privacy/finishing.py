"""Erasures carried on: what was on its way when a person was erased, the lake, the bundle that serves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from redis.asyncio import Redis

from bus import topology
from bus.publisher import Broker
from db.cache import forget_people, forget_seen
from db.deletion import delete_people
from db.erasures import Erasure, oldest_training, open_erasures, outbox_holds_from_before, update_stores
from db.receipts import PersonStore, StoreReport, StoreState
from engine.privacy.guests import LANDED

log = structlog.get_logger()

Reports = dict[PersonStore, StoreReport]

_DRAINED: Final = "What was waiting there was handed to the queue."
_ARRIVED: Final = "Nothing waits; what a worker holds still is dropped as it comes."
_DIED: Final = "Whatever had died of theirs is gone."
_NO_LAKE: Final = "No lake is configured; what was exported by hand is for whoever has it."
_NO_MODEL: Final = "No model serves."
_TRAINED: Final = "Bundles hold no ids of people; the training of what serves began after the erasure."


async def carry_on_erasures(pool: asyncpg.Pool, redis: Redis, broker: Broker, now: datetime, *, has_lake: bool) -> int:
    """Go on with every erasure that some store is not done with; returns how many are complete now.

    A lake is left to its nightly export. Doing it twice, or twice at once, changes nothing. Raises
    StoreUnavailable while the broker does not say what waits.
    """
    trained = await oldest_training(pool)
    erasures = [each for each in await open_erasures(pool, trained) if now - each.erased_at >= LANDED]
    if not erasures:
        return 0
    messages = {state.name: state.messages for state in await broker.queues()}
    lake = {} if has_lake else {PersonStore.LAKE: StoreReport(StoreState.NOTHING_HELD, now, _NO_LAKE)}
    complete = 0
    for erasure in erasures:
        told = {
            **await _arrived(pool, redis, erasure, messages, now),
            **(lake if erasure.is_pending(PersonStore.LAKE) else {}),
            **_bundle(erasure, trained, now),
        }
        after = await update_stores(pool, erasure, told) if told else None
        if after is not None and after.completed_at is not None:
            complete += 1
            log.info("erasure_complete", erasure=str(erasure.id))
    return complete


async def _arrived(
    pool: asyncpg.Pool, redis: Redis, erasure: Erasure, messages: Mapping[str, int], now: datetime
) -> Reports:
    """Sweep again behind what was being stored just then, until nothing from before is on its way."""
    told: Reports = {}
    if not any(map(erasure.is_pending, (PersonStore.QUEUE, PersonStore.DEAD_EVENTS))):
        return told
    deleted = await delete_people(pool, erasure.people, erasure.erased_at)
    await forget_people(redis, erasure.people)
    await forget_seen(redis, deleted.identities)
    if deleted.any or erasure.is_pending(PersonStore.POSTGRES):
        told |= deleted.reports(now)
    if erasure.is_pending(PersonStore.REDIS):
        told[PersonStore.REDIS] = StoreReport(StoreState.ERASED, now)
    if not await outbox_holds_from_before(pool, erasure.erased_at):
        if erasure.is_pending(PersonStore.OUTBOX):
            told[PersonStore.OUTBOX] = StoreReport(StoreState.ERASED, now, _DRAINED)
        if erasure.is_pending(PersonStore.QUEUE) and not messages[topology.EVENTS.name] and not deleted.incomplete:
            told[PersonStore.QUEUE] = StoreReport(StoreState.ERASED, now, _ARRIVED)
    arrived = not erasure.is_pending(PersonStore.QUEUE) or PersonStore.QUEUE in told
    if erasure.is_pending(PersonStore.DEAD_EVENTS) and arrived and not messages[topology.DEAD_LETTERS.name]:
        told[PersonStore.DEAD_EVENTS] = StoreReport(StoreState.ERASED, now, _DIED)
    return told


def _bundle(erasure: Erasure, trained: datetime | None, now: datetime) -> Reports:
    """A training may read the lake: then the one that counts began after that was written again."""
    if not erasure.is_pending(PersonStore.BUNDLE):
        return {}
    if trained is None:
        return {PersonStore.BUNDLE: StoreReport(StoreState.NOTHING_HELD, now, _NO_MODEL)}
    lake = erasure.stores[PersonStore.LAKE]
    since = lake.at if lake.status is StoreState.ERASED and lake.at else erasure.erased_at
    if lake.status is StoreState.PENDING or trained <= since:
        return {}
    return {PersonStore.BUNDLE: StoreReport(StoreState.ERASED, now, _TRAINED)}
