"""Events in: each judged, many sent at once, acknowledged when they are safe and the next answer knows them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from redis.asyncio import Redis

from bus.publisher import Broker, body_of, events_text, publish_events
from core import metrics, telemetry
from core.contract import Event
from core.errors import Overloaded, StoreUnavailable
from core.settings import Ingest as IngestSettings
from core.stores import log_unavailable, time_limit
from core.tasks import end
from db import cache, outbox
from db.postgres import transaction
from db.recent_events import RecentEventsWriter
from db.tombstones import erased_events, newest_tombstone
from engine.intake.batching import Batcher, Chunk
from engine.intake.judging import Call, judge, not_kept, repeat_of, repeated
from engine.outcomes import Outcome, Result, check_count
from engine.viewer import Viewer

log = structlog.get_logger()

REST: Final = 1.0  # seconds Redis is left alone after it failed
SOON, SELDOM = 1.0, 10.0  # seconds between looks into the outbox: while it is known to hold something, and otherwise
_NOT_SAFE: Final = "Neither the broker nor the outbox took it: send it again."


class Ingest:
    """One process's way in for events. `open` and `close` go with the process's event loop."""

    def __init__(self, settings: IngestSettings, pool: asyncpg.Pool, redis: Redis, broker: Broker) -> None:
        self._pool = pool
        self._redis = redis
        self._recents = RecentEventsWriter(redis)
        self._broker = broker
        self._batcher = Batcher(settings, self._send)
        self._redis_rests_until = 0.0
        self._set_aside = asyncio.Event()
        self._drainer: asyncio.Task[None] | None = None
        self._newest_erasure: datetime | None = None

    def open(self) -> None:
        """Start sending batches and emptying the outbox."""
        self._batcher.open()
        self._drainer = asyncio.create_task(self._keep_drained())

    async def close(self) -> None:
        """Send what waits; what the broker does not take is in the outbox."""
        await self._batcher.close()
        if self._drainer is not None:
            await end([self._drainer])

    async def track(self, viewer: Viewer, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Judge and send a call's events; one result per event, in their order.

        ACCEPTED only when the broker confirmed the event, or the outbox holds it. DUPLICATE and CONFLICT are found
        here for ids the sender gave, as far as Redis remembers; the rest is the worker's primary key. An item nobody
        uploaded yet is accepted: events are facts, and the catalogue may come later.
        Raises TooManyElements for more than 500 events, and Overloaded, having taken none, while too many wait.
        """
        check_count(len(raws))
        call = judge(viewer, raws)
        await self._keep_out_erased(call)
        await self._compare_with_seen(call)
        if call.events:
            await self._send_off(call)
        for index, earlier in call.repeats.items():
            call.results[index] = repeat_of(call, index, earlier)
        for outcome, count in Counter(result.outcome for result in call.results.values()).items():
            metrics.EVENTS.labels(outcome.lower()).inc(count)
        return [call.results[index] for index in range(len(raws))]

    def heed_erasure(self, moment: datetime) -> None:
        """Somebody was erased just now; other processes hear of it in ten seconds, the worker always knows."""
        self._newest_erasure = moment if self._newest_erasure is None else max(moment, self._newest_erasure)

    async def _keep_out_erased(self, call: Call) -> None:
        """Reject what happened before its person was erased; while Postgres does not answer, the worker drops it."""
        places = list(call.events)
        try:
            async with time_limit("postgres", REST):
                erased = await erased_events(self._pool, list(call.events.values()), self._newest_erasure)
        except StoreUnavailable as error:
            log_unavailable(error, doing="check for erased people")
            return
        for index in (places[place] for place in erased):
            call.results[index] = not_kept(index, call.events.pop(index))

    async def _compare_with_seen(self, call: Call) -> None:
        named = {index: event for index, event in call.named.items() if index in call.events}
        seen = await self._seen([event.identity for event in named.values()])
        for (index, event), digest in zip(named.items(), seen, strict=True):
            if digest is not None:
                del call.events[index]
                call.results[index] = repeated(index, event, same=digest == event.digest)

    async def _send_off(self, call: Call) -> None:
        events = list(call.events.values())
        text = events_text(events)
        if not self._batcher.has_room(len(events), len(text)):
            raise Overloaded("Too many events wait for the broker: send them again.")
        named = [call.named[index] for index in call.events if index in call.named]
        taken = await self._batcher.add(events, named, text)
        for index, event in call.events.items():
            call.results[index] = (
                Result(index, Outcome.ACCEPTED, event.id)
                if taken
                else Result(index, Outcome.RETRY, event.id, "SERVICE_UNAVAILABLE", None, _NOT_SAFE)
            )

    async def _send(self, chunks: list[Chunk]) -> bool:
        events = [event for chunk in chunks for event in chunk.events]
        task_id = uuid4()
        with _batch_span(task_id, chunks, len(events)):
            if not await self._keep_safe(task_id, body_of([chunk.text for chunk in chunks])):
                return False
            await self._tell_redis(events, [event for chunk in chunks for event in chunk.named])
        return True

    async def _keep_safe(self, task_id: UUID, body: bytes) -> bool:
        """Whether the broker, or else the outbox, holds the batch now."""
        try:
            await publish_events(self._broker, task_id, body)
        except StoreUnavailable as error:
            log_unavailable(error, doing="send a batch", task_id=str(task_id))
            return await self._put_aside(task_id, body)
        metrics.BATCHES.labels("confirmed").inc()
        return True

    async def _put_aside(self, task_id: UUID, body: bytes) -> bool:
        try:
            await outbox.keep_envelope(self._pool, task_id, body)
        except StoreUnavailable as error:
            log.error("batch_not_safe", task_id=str(task_id), error=str(error))
            metrics.BATCHES.labels("lost").inc()
            return False
        metrics.BATCHES.labels("set_aside").inc()
        self._set_aside.set()
        return True

    async def _seen(self, identities: list[int]) -> list[int | None]:
        if identities and self._redis_is_there():
            try:
                return await cache.seen_digests(self._redis, identities)
            except StoreUnavailable as error:
                self._let_redis_rest(error)
        return [None] * len(identities)

    async def _tell_redis(self, events: list[Event], named: list[Event]) -> None:
        """Best effort: the worker tells it again, and Postgres knows better."""
        if not self._redis_is_there():
            self._recents.remember_missed(events)
            return
        try:
            await asyncio.gather(self._recents.add(events), cache.mark_seen(self._redis, named))
        except StoreUnavailable as error:
            self._let_redis_rest(error)

    def _redis_is_there(self) -> bool:
        return asyncio.get_running_loop().time() >= self._redis_rests_until

    def _let_redis_rest(self, error: StoreUnavailable) -> None:
        self._redis_rests_until = asyncio.get_running_loop().time() + REST
        log_unavailable(error, doing="read and write recent events")

    async def _keep_drained(self) -> None:
        while True:
            self._set_aside.clear()
            await self._make_up()
            if await self._drained():
                with suppress(TimeoutError):
                    async with asyncio.timeout(SELDOM):
                        await self._set_aside.wait()
            else:
                await asyncio.sleep(SOON)

    async def _make_up(self) -> None:
        """What Redis missed is made up for even where no more events come."""
        if self._redis_is_there():
            try:
                await self._recents.drop_outdated()
            except StoreUnavailable as error:
                self._let_redis_rest(error)

    async def _drained(self) -> bool:
        """Empty the outbox as far as broker and Postgres allow; whether it is empty now."""
        try:
            if (newest := await newest_tombstone(self._pool)) is not None:
                self.heed_erasure(newest)
            while sent := await self._drain_some():
                log.info("outbox_drained", messages=sent)
        except StoreUnavailable as error:
            log_unavailable(error, doing="empty the outbox")
            return False
        return True

    async def _drain_some(self) -> int:
        """Send on the oldest, each by itself: one that the broker refuses keeps no other back."""
        async with transaction(self._pool) as connection:
            parcels = await outbox.take_envelopes(connection)
            refusals = [await self._refusal(parcel) for parcel in parcels]
            sent = [parcel.id for parcel, refusal in zip(parcels, refusals, strict=True) if refusal is None]
            await outbox.delete_envelopes(connection, sent)
        if parcels and not sent:
            raise refusals[0] or StoreUnavailable("broker")
        return len(sent)

    async def _refusal(self, parcel: outbox.OutboxEnvelope) -> StoreUnavailable | None:
        try:
            await publish_events(self._broker, parcel.task_id, parcel.body)
        except StoreUnavailable as error:
            return error
        return None


def _batch_span(task_id: UUID, chunks: Sequence[Chunk], events: int) -> AbstractContextManager[Any]:
    """The batch goes on in the trace of its first call; it is linked to the others'."""
    places = [chunk.place for chunk in chunks if chunk.place]
    return telemetry.entry(
        "publish events",
        "PRODUCER",
        places[0] if places else None,
        places[1:],
        messaging__system="rabbitmq",
        messaging__message__id=str(task_id),
        messaging__batch__message_count=events,
    )
