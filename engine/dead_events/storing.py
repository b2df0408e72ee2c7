"""Writes dead events to Postgres, but none from before its person was erased."""

from collections import Counter
from collections.abc import Sequence

import structlog

from core import metrics
from db.dead_events import NewDeadEvent, insert_dead_events
from db.postgres import Connection
from db.tombstones import erased_moments

log = structlog.get_logger()


async def record_dead_events(connection: Connection, dead: Sequence[NewDeadEvent]) -> None:
    """Store these as dead events, log them and count them; those from before their person was erased are dropped."""
    moments = {at: (person, each.moment) for at, each in enumerate(dead) if (person := each.person)}
    erased = await erased_moments(connection, moments)
    kept = [each for at, each in enumerate(dead) if at not in erased]
    await insert_dead_events(connection, kept)
    for reason, events in Counter(each.reason for each in kept).items():
        log.error("dead_events_recorded", reason=reason, events=events)
        metrics.EVENTS.labels("dead").inc(events)
