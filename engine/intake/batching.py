"""Events of many calls leave in few messages: gathered for a moment, bounded in size, in flight and in waiting."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from core import telemetry
from core.contract import Event
from core.settings import Ingest as IngestSettings
from core.tasks import end

log = structlog.get_logger()

LARGEST = 2_097_152  # bytes of a batch: JSON within JSON may double it, and RabbitMQ 4 refuses more than 16 MiB
HEAVIEST = 67_108_864  # bytes that may wait or be in flight
PATIENCE = 20.0  # seconds to get rid of what waits when the process stops


@dataclass(frozen=True, slots=True)
class Chunk:
    """The events of one call, those whose id the sender gave, their JSON, whether they were taken, and its trace."""

    events: Sequence[Event]
    named: Sequence[Event]
    text: bytes
    taken: asyncio.Future[bool]
    place: str | None = None


class Batcher:
    """Hands batches of whole chunks to `send`, which says whether they are safe."""

    def __init__(self, settings: IngestSettings, send: Callable[[list[Chunk]], Awaitable[bool]]) -> None:
        self._settings = settings
        self._send = send
        self._waiting: deque[Chunk] = deque()
        self._count = 0  # events waiting or in flight
        self._weight = 0  # bytes waiting or in flight
        self._gathered = 0  # events waiting
        self._some, self._enough, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()
        self._slots = asyncio.Semaphore(settings.max_in_flight)
        self._deliveries: set[asyncio.Task[None]] = set()
        self._feeder: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start sending, on the running loop."""
        self._feeder = asyncio.create_task(self._feed())

    async def close(self) -> None:
        """Send what waits, then stop; after a while give up what no store takes, which nobody was told is safe."""
        if self._feeder is not None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._idle.wait()
            except TimeoutError:
                log.error("events_given_up", events=self._count)
            await end([self._feeder, *self._deliveries])
            for chunk in self._waiting:  # a caller who still waits hears that it has to send again
                if not chunk.taken.done():
                    chunk.taken.set_result(False)

    def has_room(self, events: int, weight: int) -> bool:
        """Whether so many events of so many bytes may still be added."""
        return self._count + events <= self._settings.max_waiting and self._weight + weight <= HEAVIEST

    async def add(self, events: Sequence[Event], named: Sequence[Event], text: bytes) -> bool:
        """Whether these events were taken; True only when they are safe. At most 500, for whom it `has_room`."""
        chunk = Chunk(events, named, text, asyncio.get_running_loop().create_future(), telemetry.traceparent())
        self._waiting.append(chunk)
        self._count += len(events)
        self._weight += len(text)
        self._gathered += len(events)
        self._idle.clear()
        self._some.set()
        if self._gathered >= self._settings.max_batch:
            self._enough.set()
        return await chunk.taken

    async def _feed(self) -> None:
        while True:
            await self._some.wait()
            await self._linger()
            await self._slots.acquire()
            delivery = asyncio.create_task(self._deliver(self._gather()))
            self._deliveries.add(delivery)
            delivery.add_done_callback(self._deliveries.discard)

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.linger):
                await self._enough.wait()

    def _gather(self) -> list[Chunk]:
        """The oldest chunks that fit into one message; one at least."""
        chunks = [self._waiting.popleft()]
        size, weight = len(chunks[0].events), len(chunks[0].text)
        while (
            self._waiting
            and size + len(self._waiting[0].events) <= self._settings.max_batch
            and weight + len(self._waiting[0].text) <= LARGEST
        ):
            chunks.append(self._waiting.popleft())
            size, weight = size + len(chunks[-1].events), weight + len(chunks[-1].text)
        self._gathered -= size
        if not self._waiting:
            self._some.clear()
        if self._gathered < self._settings.max_batch:
            self._enough.clear()
        return chunks

    async def _deliver(self, chunks: list[Chunk]) -> None:
        taken = False
        try:
            taken = await self._send(chunks)
        except Exception:
            log.exception("batch_not_sent")
        finally:
            self._settle(chunks, taken)

    def _settle(self, chunks: list[Chunk], taken: bool) -> None:
        self._slots.release()
        self._count -= sum(len(chunk.events) for chunk in chunks)
        self._weight -= sum(len(chunk.text) for chunk in chunks)
        if not self._count:
            self._idle.set()
        for chunk in chunks:
            if not chunk.taken.done():  # else its caller has gone
                chunk.taken.set_result(taken)
