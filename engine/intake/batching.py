"""Events of many calls are gathered for a moment and sent in a few batches, with bounds on what is pending."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from core import telemetry
from core.contract import Event
from core.settings import Ingest as IngestSettings
from core.tasks import end

log = structlog.get_logger()

MAX_BATCH_BYTES = 2_097_152  # JSON inside JSON may double it, and RabbitMQ 4 refuses messages over 16 MiB
MAX_PENDING_BYTES = 67_108_864  # bytes that wait or are in flight
CLOSE_TIMEOUT = 20.0  # seconds to send what waits when the process stops


@dataclass(frozen=True, slots=True)
class PendingCall:
    """The events of one call on their way to the broker."""

    events: Sequence[Event]
    with_sender_id: Sequence[Event]  # those whose id comes from the sender
    text: bytes  # the events as JSON
    accepted: asyncio.Future[bool]  # True: the broker or the outbox holds them; False: no store does
    traceparent: str | None = None


class Batcher:
    """Gathers calls into batches and gives each batch to `send`, which returns whether a store holds it now.

    A batch holds whole calls.
    """

    def __init__(self, settings: IngestSettings, send: Callable[[list[PendingCall]], Awaitable[bool]]) -> None:
        self._settings = settings
        self._send = send
        self._waiting: deque[PendingCall] = deque()
        self._pending_events = self._pending_bytes = 0  # that wait or are in flight
        self._waiting_events = 0
        self._any_waiting, self._full_batch, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._sender: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start sending on the running event loop."""
        self._sender = asyncio.create_task(self._send_batches())

    async def close(self) -> None:
        """Send what waits, then stop. After CLOSE_TIMEOUT, `add` returns False for whatever no store has taken."""
        if self._sender is not None:
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._idle.wait()
            except TimeoutError:
                log.error("events_given_up", events=self._pending_events)
            await end([self._sender, *self._in_flight])
            _resolve(self._waiting, False)

    def has_room(self, events: int, size: int) -> bool:
        """Whether a call of so many events and bytes may be added."""
        return (
            self._pending_events + events <= self._settings.max_waiting
            and self._pending_bytes + size <= MAX_PENDING_BYTES
        )

    async def add(self, events: Sequence[Event], with_sender_id: Sequence[Event], text: bytes) -> bool:
        """Send the events of a call, which must have room. Returns whether the broker or the outbox holds them."""
        accepted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(PendingCall(events, with_sender_id, text, accepted, telemetry.traceparent()))
        self._pending_events += len(events)
        self._pending_bytes += len(text)
        self._waiting_events += len(events)
        self._idle.clear()
        self._any_waiting.set()
        if self._waiting_events >= self._settings.max_batch:
            self._full_batch.set()
        return await accepted

    async def _send_batches(self) -> None:
        while True:
            await self._any_waiting.wait()
            await self._linger()
            await self._slots.acquire()
            sending = asyncio.create_task(self._send_batch(self._next_batch()))
            self._in_flight.add(sending)
            sending.add_done_callback(self._in_flight.discard)

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.linger):
                await self._full_batch.wait()

    def _next_batch(self) -> list[PendingCall]:
        """The oldest calls that fit into one batch together; at least one."""
        calls = [self._waiting.popleft()]
        events, size = len(calls[0].events), len(calls[0].text)
        while (
            self._waiting
            and events + len(self._waiting[0].events) <= self._settings.max_batch
            and size + len(self._waiting[0].text) <= MAX_BATCH_BYTES
        ):
            calls.append(self._waiting.popleft())
            events, size = events + len(calls[-1].events), size + len(calls[-1].text)
        self._waiting_events -= events
        if not self._waiting:
            self._any_waiting.clear()
        if self._waiting_events < self._settings.max_batch:
            self._full_batch.clear()
        return calls

    async def _send_batch(self, calls: list[PendingCall]) -> None:
        accepted = False
        try:
            accepted = await self._send(calls)
        except Exception:
            log.exception("batch_not_sent")
        finally:
            self._finish(calls, accepted)

    def _finish(self, calls: list[PendingCall], accepted: bool) -> None:
        self._slots.release()
        self._pending_events -= sum(len(call.events) for call in calls)
        self._pending_bytes -= sum(len(call.text) for call in calls)
        if not self._pending_events:
            self._idle.set()
        _resolve(calls, accepted)


def _resolve(calls: Iterable[PendingCall], accepted: bool) -> None:
    for call in calls:
        if not call.accepted.done():  # done: its caller was cancelled
            call.accepted.set_result(accepted)
