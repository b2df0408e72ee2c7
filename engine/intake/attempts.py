"""Events that end their worker's process: tried together, then one by one, then recorded as dead events."""

import asyncio
from typing import Final

import structlog

from bus.messages import store_events
from bus.publisher import Publisher
from db.dead_events import DeadReason
from engine.dead_events import records
from engine.intake.reading import Batch

log = structlog.get_logger()

WHOLE_ATTEMPTS: Final = 2  # of a batch; then its events are tried one by one
MAX_ATTEMPTS: Final = 5  # of an event, in all
IN_FLIGHT: Final = 20  # messages

CRASHED: Final = "It ended its worker's process each time it was tried."


def give_up(batch: Batch, attempts: int) -> Batch:
    """The batch with all its events turned into dead events, after so many attempts."""
    crashed = [records.of_event(event, DeadReason.CRASHED, CRASHED, attempts) for event in batch.events]
    return Batch([], [*crashed, *batch.dead])


async def split(publisher: Publisher, batch: Batch, attempts: int) -> Batch:
    """Send each event in a message of its own, so that only the faulty one becomes a dead event; returns the rest.

    Raises StoreUnavailable when the broker did not confirm all of them. Sending some twice is harmless.
    """
    log.warning("batch_split", events=len(batch.events), attempts=attempts)
    for start in range(0, len(batch.events), IN_FLIGHT):
        events = batch.events[start : start + IN_FLIGHT]
        await asyncio.gather(*(publisher.publish(store_events([event], attempts)) for event in events))
    return Batch([], batch.dead)
