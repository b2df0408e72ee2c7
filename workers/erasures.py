"""Erasures carried on: what was on its way when a person was erased, the lake, the bundle that serves."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final

import asyncpg
import structlog
from redis.asyncio import Redis

from core.contract import Person
from db.cache import forget_people, forget_seen
from db.erasures import Erasure, oldest_training, open_erasures, outbox_waits, tell_stores
from db.receipts import PersonStore, StoreState, Told
from db.sweeps import sweep
from workers import topology
from workers.enqueue import Broker
from workers.people import LANDED

log = structlog.get_logger()

EraseFromLake = Callable[[Sequence[Person]], Awaitable[int]]
Stores = dict[PersonStore, Told]

_DRAINED: Final = "What was waiting there was handed to the queue."
_ARRIVED: Final = "What was on its way was dropped as it came."
_NO_LAKE: Final = "No lake is configured."
_NO_MODEL: Final = "No model serves."
_TRAINED: Final = "Bundles hold no ids of people; the training of what serves began after the erasure."


async def carry_on_erasures(
    pool: asyncpg.Pool, redis: Redis, broker: Broker, now: datetime, erase_from_lake: EraseFromLake | None = None
) -> int:
    """Go on with every erasure that some store is not done with; returns how many are complete now.

    Doing it twice, or twice at once, changes nothing. Raises StoreUnavailable while the broker does not say what waits.
    """
    trained = await oldest_training(pool)
    erasures = [each for each in await open_erasures(pool, trained) if now - each.erased_at >= LANDED]
    if not erasures:
        return 0
    messages = {state.name: state.messages for state in await broker.queues()}
    lake = await _lake(erasures, now, erase_from_lake)
    complete = 0
    for erasure in erasures:
        told = {
            **await _arrived(pool, redis, erasure, messages, now),
            **(lake if erasure.waits(PersonStore.LAKE) and _due(erasure, now, erase_from_lake) else {}),
            **_bundle(erasure, trained, now),
        }
        after = await tell_stores(pool, erasure, told) if told else None
        if after is not None and after.completed_at is not None:
            complete += 1
            log.info("erasure_complete", erasure=str(erasure.id))
    return complete


async def _arrived(
    pool: asyncpg.Pool, redis: Redis, erasure: Erasure, messages: Mapping[str, int], now: datetime
) -> Stores:
    """Sweep again behind what was being stored just then, until nothing from before is on its way."""
    told: Stores = {}
    if erasure.waits(PersonStore.DEAD_EVENTS) and not messages[topology.DEAD_LETTERS.name]:
        told[PersonStore.DEAD_EVENTS] = Told(StoreState.NOTHING_HELD, now)
    if not erasure.waits(PersonStore.QUEUE):
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
        if not messages[topology.EVENTS.name] and not swept.rest:
            told[PersonStore.QUEUE] = Told(StoreState.ERASED, now, _ARRIVED)
    return told


async def _lake(erasures: Sequence[Erasure], now: datetime, erase: EraseFromLake | None) -> Stores:
    """The lake is rewritten once a night, for all who were erased before it began."""
    if erase is None:
        return {PersonStore.LAKE: Told(StoreState.NOTHING_HELD, now, _NO_LAKE)}
    waiting = [each for each in erasures if each.waits(PersonStore.LAKE) and _due(each, now, erase)]
    days = await erase(list(chain.from_iterable(each.people for each in waiting))) if waiting else 0
    return {PersonStore.LAKE: Told(StoreState.ERASED, now, f"Days rewritten for all of that night: {days}.")}


def _due(erasure: Erasure, now: datetime, erase: EraseFromLake | None) -> bool:
    return erase is None or erasure.erased_at.date() < now.date()


def _bundle(erasure: Erasure, trained: datetime | None, now: datetime) -> Stores:
    if not erasure.waits(PersonStore.BUNDLE):
        return {}
    if trained is None:
        return {PersonStore.BUNDLE: Told(StoreState.NOTHING_HELD, now, _NO_MODEL)}
    return {PersonStore.BUNDLE: Told(StoreState.ERASED, now, _TRAINED)} if trained > erasure.erased_at else {}
