"""Take in events: judge each, send many in one batch, answer once a store holds them."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import structlog
from redis.asyncio import Redis

from bus.envelope import Envelope
from bus.messages import events_json, store_arrays
from bus.publisher import Publisher
from core import metrics, telemetry
from core.contract import Event, Person, identity_of
from core.errors import Overloaded, StoreUnavailable
from core.settings import Ingest as IngestSettings
from core.sources import sources_of_other_release
from core.stores import log_unavailable, time_limit
from core.tasks import end
from db.plain_sources import plain_sources_until
from db.postgres import Connection
from db.tombstones import erased_events, newest_tombstone
from engine.intake.accepted import AcceptedEvents
from engine.intake.batching import Batcher, PendingCall
from engine.intake.judging import SLICE, Call, Reach, erased_result, judge, known_result, repeat_result
from engine.intake.outbox import drain_outbox, keep_in_outbox
from engine.outcomes import Outcome, Result, check_count
from engine.signing import Signer
from engine.viewer import Viewer

log = structlog.get_logger()

ERASURE_CHECK_TIMEOUT: Final = 1.0  # seconds
CATCH_UP_INTERVAL: Final = 10.0  # seconds between two rounds of `_catch_up`
CATCH_UP_RETRY: Final = 1.0  # seconds until the next round after one that failed
CLIENT_EVENTS_BACK: Final = 3_653  # days; ten years, where Postgres keeps events for ever
_NOT_STORED: Final = "Neither the broker nor the outbox took this event: send it again."


class EventIntake:
    """The intake of one process. Use it on one event loop, between `open` and `close`.

    `events_keep`: days events stay in Postgres, None for all. Older ones are rejected.
    `catching_up`: what the outbox is drained with, which holds a connection while it publishes; None: `pool`.
    `signer`: signed the `impressionId` that an event may name; None: those are not checked.
    """

    def __init__(
        self,
        settings: IngestSettings,
        pool: Connection,
        redis: Redis,
        broker: Publisher,
        events_keep: int | None = None,
        *,
        catching_up: Connection | None = None,
        signer: Signer | None = None,
    ) -> None:
        self._pool, self._bulk = pool, catching_up or pool
        self._reach = _reach(settings.person_events_back, events_keep or CLIENT_EVENTS_BACK)
        self._broker, self._signer = broker, signer
        self._accepted = AcceptedEvents(redis)
        self._batcher = Batcher(settings, self._send_batch)
        self._outbox_filled = asyncio.Event()
        self._catching_up: asyncio.Task[None] | None = None
        self._newest_erasure: datetime | None = None
        self._plain_until: datetime | None = None  # see db/plain_sources.py

    def open(self) -> None:
        """Start to send batches and to drain the outbox."""
        self._batcher.open()
        self._catching_up = asyncio.create_task(self._catch_up_periodically())

    async def close(self) -> None:
        """Send what waits, to the broker or else to the outbox, and stop."""
        await self._batcher.close()
        if self._catching_up is not None:
            await end([self._catching_up])

    async def track(self, viewer: Viewer, raws: Sequence[Mapping[str, Any]]) -> list[Result]:
        """Judge and send the events of a call. Returns one result per event, in order.

        ACCEPTED: the broker confirmed the event, or the outbox holds it. DUPLICATE and CONFLICT are found here only
        for ids that come from the sender and that Redis still knows; the worker finds the others by primary key. The
        item of an event may be unknown: it may be uploaded later.
        Raises TooManyElements for more than 500 events, and Overloaded, with no event taken, while too many wait.
        """
        check_count(len(raws))
        call = await judge(viewer, raws, self._reach, self._signer)
        await self._reject_erased(call)
        await self._find_known(call)
        if call.events:
            await self._send(call)
        for index, earlier in call.repeats.items():
            call.results[index] = repeat_result(call, index, earlier)
        for outcome, count in Counter(result.outcome for result in call.results.values()).items():
            metrics.EVENTS.labels(outcome.lower()).inc(count)
        return [call.results[index] for index in range(len(raws))]

    def remember_erasure(self, moment: datetime) -> None:
        """Note that a person was erased at `moment`. Other processes read it within ten seconds; workers always do."""
        self._newest_erasure = moment if self._newest_erasure is None else max(moment, self._newest_erasure)

    def drop_base_later(self, person: Person) -> None:
        """Drop a person's base as soon as Redis answers: it missed something about them."""
        self._accepted.drop_base_later(person)

    async def _reject_erased(self, call: Call) -> None:
        """Reject events from before their person was erased. While Postgres is away, the worker drops them later."""
        indices = list(call.events)
        try:
            async with time_limit("postgres", ERASURE_CHECK_TIMEOUT):
                erased = await erased_events(self._pool, list(call.events.values()), self._newest_erasure)
        except StoreUnavailable as error:
            log_unavailable(error, doing="check for erased people")
            return
        except asyncpg.PostgresError:  # no reason to refuse the call: the worker checks again
            log.exception("erased_people_not_checked")
            return
        for index in (indices[position] for position in erased):
            call.results[index] = erased_result(index, call.events.pop(index))

    async def _find_known(self, call: Call) -> None:
        """Find the events whose identity was accepted before: duplicates and conflicts."""
        to_check = {index: event for index, event in call.with_sender_id.items() if index in call.events}
        digests = await self._accepted.seen_digests([event.identity for event in to_check.values()])
        for (index, event), digest in zip(to_check.items(), digests, strict=True):
            if digest is not None:
                del call.events[index]
                call.results[index] = known_result(index, event, same=digest == event.digest)
        if self._plain_until is not None:
            await self._find_known_before(call, self._plain_until)

    async def _find_known_before(self, call: Call, until: datetime) -> None:
        """Find the duplicates of events that a gateway of the release before accepted. Another body is a new event."""
        to_check = {
            index: (event, identity_of(source, event.id, event.occurred_at))
            for index, event in call.with_sender_id.items()
            if index in call.events and event.occurred_at < until
            for source in sources_of_other_release(event.source, event.person)
        }
        digests = await self._accepted.seen_digests([identity for _, identity in to_check.values()])
        for (index, (event, _)), digest in zip(to_check.items(), digests, strict=True):
            if digest == event.digest:
                del call.events[index]
                call.results[index] = known_result(index, event, same=True)

    async def _send(self, call: Call) -> None:
        events = list(call.events.values())
        text = await _json(events)
        if not self._batcher.has_room(len(events), len(text)):
            raise Overloaded("Too many events wait for the broker: send them again.")
        with_sender_id = [call.with_sender_id[index] for index in call.events if index in call.with_sender_id]
        accepted = await self._batcher.add(events, with_sender_id, text)
        for index, event in call.events.items():
            call.results[index] = (
                Result(index, Outcome.ACCEPTED, event.id)
                if accepted
                else Result(index, Outcome.RETRY, event.id, "SERVICE_UNAVAILABLE", None, _NOT_STORED)
            )

    async def _send_batch(self, calls: list[PendingCall]) -> bool:
        """Send the events of these calls as one batch; returns whether the broker or the outbox holds it now."""
        events = [event for call in calls for event in call.events]
        message_id = uuid4()
        with _batch_span(message_id, calls, len(events)):  # the envelope takes its traceparent from this span
            envelope = store_arrays([call.text for call in calls], id=message_id)
            if not await self._publish_or_keep(envelope):
                return False
            await self._accepted.add(events, [event for call in calls for event in call.with_sender_id])
        return True

    async def _publish_or_keep(self, envelope: Envelope) -> bool:
        try:
            await self._broker.publish(envelope)
        except StoreUnavailable as error:
            log_unavailable(error, doing="send a batch", task_id=str(envelope.id))
            return await self._keep_in_outbox(envelope)
        metrics.BATCHES.labels("confirmed").inc()
        return True

    async def _keep_in_outbox(self, envelope: Envelope) -> bool:
        try:
            await keep_in_outbox(self._pool, self._broker, envelope)
        except (StoreUnavailable, asyncpg.PostgresError) as error:
            log.error("batch_not_kept", task_id=str(envelope.id), error=str(error))
            metrics.BATCHES.labels("lost").inc()
            return False
        metrics.BATCHES.labels("set_aside").inc()
        self._outbox_filled.set()
        return True

    async def _catch_up_periodically(self) -> None:
        while True:
            self._outbox_filled.clear()
            if await self._catch_up():
                with suppress(TimeoutError):
                    async with asyncio.timeout(CATCH_UP_INTERVAL):
                        await self._outbox_filled.wait()
            else:
                await asyncio.sleep(CATCH_UP_RETRY)

    async def _catch_up(self) -> bool:
        """Drop outdated bases, read what others wrote, drain the outbox. Returns whether all of it worked."""
        await self._accepted.drop_outdated_bases()
        try:
            if (newest := await newest_tombstone(self._bulk)) is not None:
                self.remember_erasure(newest)
            self._plain_until = await plain_sources_until(self._bulk)
            await drain_outbox(self._bulk, self._broker)
        except StoreUnavailable as error:
            log_unavailable(error, doing="drain the outbox")
            return False
        except Exception:  # this task must go on: nothing else drains the outbox
            log.exception("catch_up_failed")
            return False
        return True


async def _json(events: list[Event]) -> bytes:
    """The events as a JSON array, made in slices."""
    if len(events) <= SLICE:
        return events_json(events)
    parts = []
    for start in range(0, len(events), SLICE):
        parts.append(events_json(events[start : start + SLICE])[1:-1])
        await asyncio.sleep(0)
    return b"[" + b",".join(parts) + b"]"


def _reach(persons: int, clients: int) -> Reach:
    """The reach, from days: nobody's is longer than the clients'."""
    return Reach(timedelta(days=min(persons, clients)), timedelta(days=clients))


def _batch_span(message_id: UUID, calls: Sequence[PendingCall], events: int) -> AbstractContextManager[Any]:
    """A span in the trace of the batch's first call, with links to the traces of the others."""
    traces = [call.traceparent for call in calls if call.traceparent]
    return telemetry.entry(
        "publish events",
        "PRODUCER",
        traces[0] if traces else None,
        traces[1:],
        messaging__system="rabbitmq",
        messaging__message__id=str(message_id),
        messaging__batch__message_count=events,
    )
