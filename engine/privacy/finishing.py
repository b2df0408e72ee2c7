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
from db.erasures import Erasure, oldest_training, open_erasures, outbox_waits, tell_stores
from db.receipts import PersonStore, StoreState, Told
from db.sweeps import sweep
from engine.privacy.guests import LANDED

log = structlog.get_logger()

Reports = dict[PersonStore, Told]

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
    lake = {} if has_lake else {PersonStore.LAKE: Told(StoreState.NOTHING_HELD, now, _NO_LAKE)}
    complete = 0
    for erasure in erasures:
        told = {
            **await _arrived(pool, redis, erasure, messages, now),
            **(lake if erasure.waits(PersonStore.LAKE) else {}),
            **_bundle(erasure, trained, now),
        }
        after = await tell_stores(pool, erasure, told) if told else None
        if after is not None and after.completed_at is not None:
            complete += 1
            log.info("erasure_complete", erasure=str(erasure.id))
    return complete


async def _arrived(
    pool: asyncpg.Pool, redis: Redis, erasure: Erasure, messages: Mapping[str, int], now: datetime
) -> Reports:
    """Sweep again behind what was being stored just then, until nothing from before is on its way."""
    told: Reports = {}
    if not any(map(erasure.waits, (PersonStore.QUEUE, PersonStore.DEAD_EVENTS))):
        return told
    swept = await sweep(pool, erasure.people, erasure.erased_at)
    await forget_people(redis, erasure.people)
    await forget_seen(redis, swept.identities)
    if swept.found or erasure.waits(PersonStore.POSTGRES):
        told |= swept.told(now)
    if erasure.waits(PersonStore.REDIS):
        told[PersonStore.REDIS] = Told(StoreState.ERASED, now)
    if not await outbox_waits(pool, erasure.erased_at):
        if erasure.waits(PersonStore.OUTBOX):
            told[PersonStore.OUTBOX] = Told(StoreState.ERASED, now, _DRAINED)
        if erasure.waits(PersonStore.QUEUE) and not messages[topology.EVENTS.name] and not swept.rest:
            told[PersonStore.QUEUE] = Told(StoreState.ERASED, now, _ARRIVED)
    arrived = not erasure.waits(PersonStore.QUEUE) or PersonStore.QUEUE in told
    if erasure.waits(PersonStore.DEAD_EVENTS) and arrived and not messages[topology.DEAD_LETTERS.name]:
        told[PersonStore.DEAD_EVENTS] = Told(StoreState.ERASED, now, _DIED)
    return told


def _bundle(erasure: Erasure, trained: datetime | None, now: datetime) -> Reports:
    """A training may read the lake: then the one that counts began after that was written again."""
    if not erasure.waits(PersonStore.BUNDLE):
        return {}
    if trained is None:
        return {PersonStore.BUNDLE: Told(StoreState.NOTHING_HELD, now, _NO_MODEL)}
    lake = erasure.stores[PersonStore.LAKE]
    since = lake.at if lake.status is StoreState.ERASED and lake.at else erasure.erased_at
    if lake.status is StoreState.PENDING or trained <= since:
        return {}
    return {PersonStore.BUNDLE: Told(StoreState.ERASED, now, _TRAINED)}
