"""Tells a CDN's receiver what to drop: the keys of the items that changed, by a signed webhook, until it takes them.

Changes are read from the items themselves, whoever made them, and become purges in an outbox. While the receiver fails,
changes wait where they are, so that many become one. A purge waits for a moment, so that no gateway gives a cache the
old answer again.
"""

import random
from collections.abc import Iterator
from datetime import timedelta
from time import monotonic
from typing import Final
from uuid import uuid4

import orjson
import structlog

from bus.webhook import Delivery, Webhook
from core import metrics
from core.surrogate_keys import CATALOGUE, ITEMS, MANY_ITEMS, TRENDING, item_key
from db import purges
from db.postgres import Pool, transaction
from db.purges import ItemChanges, Purge

log = structlog.get_logger()

MOST_KEYS: Final = 256  # of a purge: as many as Fastly takes in one call
MOST_BYTES: Final = 65_536  # of them together
MOST_ITEMS: Final = 2_000  # that changed since the last purges; when there are more, everything is dropped
MOST_WAITING: Final = 50  # purges; what changes then waits in the items
SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 300.0  # seconds after a failure: twice as long after each
PATIENCE: Final = timedelta(hours=1)  # how long a purge is tried
PAUSE_OF_GONE: Final = timedelta(hours=1)
SENDING: Final = 5.0  # seconds after which a run sends no further purge


async def add_due_purges(pool: Pool, delay: timedelta) -> int:
    """Make purges of what changed since the last call, to be sent after `delay`; returns how many.

    Twice, or twice at once, is the same as once.
    """
    async with transaction(pool) as inside:
        seq = await purges.lock_progress(inside)
        if seq is None:
            return 0
        queue = await purges.queue_of_purges(inside)
        if queue.paused or (queue.waiting and queue.failures) or queue.waiting >= MOST_WAITING:
            return 0
        changes = await purges.item_changes_since(inside, seq, MOST_ITEMS)
        if changes.seq == seq:
            return 0
        made = [(uuid4(), keys) for keys in batches_of(changes)]
        await purges.add_purges(inside, made, delay)
        await purges.note_progress(inside, changes.seq)
    return len(made)


async def send_due_purges(pool: Pool, webhook: Webhook) -> int:
    """Send what is due, until one fails or `SENDING` is over; returns how many the receiver took."""
    sent, ends = 0, monotonic() + SENDING
    while monotonic() < ends and (purge := await purges.lease_purge(pool)) is not None:
        delivery = await webhook.send(purge.id, body_of(purge))
        if delivery.error is not None:
            await _note_failure(pool, purge, delivery, delivery.error)
            break
        async with transaction(pool) as inside:
            await purges.note_delivered(inside, purge.id)
        metrics.PURGES.labels("delivered").inc()
        sent += 1
    return sent


def batches_of(changes: ItemChanges) -> Iterator[list[str]]:
    """The keys to drop, in batches of at most `MOST_KEYS` and `MOST_BYTES`."""
    if changes.ids is None:
        yield [CATALOGUE]
        return
    batch = [MANY_ITEMS, *([TRENDING, ITEMS] if changes.listed else [])]
    size = sum(map(len, batch))
    for id in changes.ids:
        key = item_key(id)
        if len(batch) >= MOST_KEYS or size + len(key) > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += len(key)
    yield batch


def body_of(purge: Purge) -> bytes:
    """The body of the webhook: the same at each attempt."""
    return orjson.dumps({"type": "cache.purge", "timestamp": purge.made_at, "data": {"keys": purge.keys}})


def pause_after(failures: int) -> timedelta:
    """How long to pause after so many failures in a row, with jitter.

    >>> pause_after(1) <= timedelta(seconds=1), pause_after(100) >= timedelta(seconds=150)
    (True, True)
    """
    longest = min(SHORTEST_PAUSE * 2.0 ** min(failures - 1, 20), LONGEST_PAUSE)
    return timedelta(seconds=longest * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter is no secret


async def _note_failure(pool: Pool, purge: Purge, delivery: Delivery, error: str) -> None:
    async with transaction(pool) as inside:
        pause = pause_after(await purges.note_failure(inside))
        if delivery.gone:
            pause, dead = PAUSE_OF_GONE, await purges.end_purges_older_than(inside, timedelta(0), error)
        elif delivery.again:
            pause = max(pause, timedelta(seconds=min(delivery.retry_after, LONGEST_PAUSE)))
            dead = await purges.end_purges_older_than(inside, PATIENCE, error)
        else:
            dead = await purges.end_purge(inside, purge.id, error)
        await purges.pause_purges(inside, purge.id, pause, error)
    metrics.PURGES.labels("failed").inc()
    metrics.PURGES.labels("dead").inc(dead)
    seconds = round(pause.total_seconds(), 1)
    log.warning("purge_failed", purge=str(purge.id), error=error, pause=seconds)
    if dead:
        log.error("purges_dead", count=dead, error=error)
