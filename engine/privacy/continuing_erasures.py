"""Continues erasures: events that were in flight when the person was erased, the lake, the bundle that serves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import structlog
from redis.asyncio import Redis

from bus.publisher import Publisher, QueueName
from db.cache import forget_people, forget_seen
from db.deletion import delete_people
from db.erasures import Erasure, oldest_training, open_erasures, outbox_holds_from_before, update_stores
from db.postgres import Pool
from db.receipts import PersonStore, StoreReport, StoreState
from engine.privacy.guests import SETTLE_DELAY

log = structlog.get_logger()

Reports = dict[PersonStore, StoreReport]

_DRAINED: Final = "Everything that waited there was sent to the queue."
_ARRIVED: Final = "Nothing waits; a worker drops the events of this person that it still has."
_NO_DEAD_EVENTS: Final = "Their dead events are deleted."
_NO_LAKE: Final = "No lake is configured; files exported by hand are not erased."
_NO_MODEL: Final = "No model serves."
_TRAINED: Final = "Bundles hold no ids of people; the training of what serves began after the erasure."


async def continue_erasures(pool: Pool, redis: Redis, publisher: Publisher, now: datetime, *, has_lake: bool) -> int:
    """Continue every erasure that is not done in all stores; returns how many are complete now.

    The nightly export erases from the lake. Twice, or twice at once, is the same as once. Raises StoreUnavailable
    while the broker does not answer.
    """
    trained = await oldest_training(pool)
    erasures = [each for each in await open_erasures(pool, trained) if now - each.erased_at >= SETTLE_DELAY]
    if not erasures:
        return 0
    messages = {state.name: state.messages for state in await publisher.queues()}
    lake = {} if has_lake else {PersonStore.LAKE: StoreReport(StoreState.NOTHING_HELD, now, _NO_LAKE)}
    complete = 0
    for erasure in erasures:
        reports = {
            **await _arrived(pool, redis, erasure, messages, now),
            **(lake if erasure.is_pending(PersonStore.LAKE) else {}),
            **_bundle(erasure, trained, now),
        }
        after = await update_stores(pool, erasure, reports) if reports else None
        if after is not None and after.completed_at is not None:
            complete += 1
            log.info("erasure_complete", erasure=str(erasure.id))
    return complete


async def _arrived(pool: Pool, redis: Redis, erasure: Erasure, messages: Mapping[str, int], now: datetime) -> Reports:
    """Erase what was stored since, until no event from before the erasure is in flight."""
    reports: Reports = {}
    if not any(map(erasure.is_pending, (PersonStore.QUEUE, PersonStore.DEAD_EVENTS))):
        return reports
    deleted = await delete_people(pool, erasure.people, erasure.erased_at)
    await forget_people(redis, erasure.people)
    await forget_seen(redis, deleted.identities)
    if deleted.any or erasure.is_pending(PersonStore.POSTGRES):
        reports |= deleted.reports(now)
    if erasure.is_pending(PersonStore.REDIS):
        reports[PersonStore.REDIS] = StoreReport(StoreState.ERASED, now)
    if not await outbox_holds_from_before(pool, erasure.erased_at):
        if erasure.is_pending(PersonStore.OUTBOX):
            reports[PersonStore.OUTBOX] = StoreReport(StoreState.ERASED, now, _DRAINED)
        if erasure.is_pending(PersonStore.QUEUE) and not messages[QueueName.EVENTS] and not deleted.incomplete:
            reports[PersonStore.QUEUE] = StoreReport(StoreState.ERASED, now, _ARRIVED)
    arrived = not erasure.is_pending(PersonStore.QUEUE) or PersonStore.QUEUE in reports
    if erasure.is_pending(PersonStore.DEAD_EVENTS) and arrived and not messages[QueueName.DEAD_LETTERS]:
        reports[PersonStore.DEAD_EVENTS] = StoreReport(StoreState.ERASED, now, _NO_DEAD_EVENTS)
    return reports


def _bundle(erasure: Erasure, trained: datetime | None, now: datetime) -> Reports:
    """Erased once the serving model was trained after the erasure and, with a lake, after its rewrite."""
    if not erasure.is_pending(PersonStore.BUNDLE):
        return {}
    if trained is None:
        return {PersonStore.BUNDLE: StoreReport(StoreState.NOTHING_HELD, now, _NO_MODEL)}
    lake = erasure.stores[PersonStore.LAKE]
    since = lake.at if lake.status is StoreState.ERASED and lake.at else erasure.erased_at
    if lake.status is StoreState.PENDING or trained <= since:
        return {}
    return {PersonStore.BUNDLE: StoreReport(StoreState.ERASED, now, _TRAINED)}
