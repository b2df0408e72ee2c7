"""Events that end their worker's process: tried a few times, then apart from their neighbours, then no more."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import structlog

from bus import topology
from bus.publisher import Broker, events_body, publish_events
from core.contract import Event
from db.dead_events import DeadReason
from engine.dead_events import records as burials
from engine.intake.reading import Read

log = structlog.get_logger()

WHOLE_ATTEMPTS: Final = 2  # of a batch; then its events are tried one by one
MOST_ATTEMPTS: Final = 5  # of an event, in all
CONFIRM: Final = 5.0  # seconds the broker may take to confirm a message
AT_ONCE: Final = 20  # messages

CRASHED: Final = "It ended its worker's process each time it was tried."


def attempts_of(request: Any) -> int:
    """Which attempt at its events this delivery of a Celery request is, from 1."""
    return 1 + _count(request.get(topology.ATTEMPTS)) + _count(request.get(topology.DELIVERIES))


def give_up(read: Read, attempts: int) -> Read:
    """All that is in the message is dead: after so many attempts, it is not tried again."""
    crashed = [burials.of_event(event, DeadReason.CRASHED, CRASHED, attempts) for event in read.events]
    return Read([], [*crashed, *read.dead])


async def scatter(broker_url: str, read: Read, attempts: int) -> Read:
    """Put each event back in a message of its own, so that in the end only the one at fault dies.

    Raises StoreUnavailable when the broker did not confirm them all; those it has are stored twice without harm.
    """
    log.warning("batch_scattered", events=len(read.events), attempts=attempts)
    broker = Broker(broker_url, CONFIRM)
    try:
        for start in range(0, len(read.events), AT_ONCE):
            await _put_back(broker, read.events[start : start + AT_ONCE], attempts)
    finally:
        await broker.close()
    return Read([], read.dead)


async def _put_back(broker: Broker, events: Sequence[Event], attempts: int) -> None:
    await asyncio.gather(*(publish_events(broker, uuid4(), events_body([event]), attempts) for event in events))


def _count(header: object) -> int:
    return header if isinstance(header, int) and header > 0 else 0
