"""Send what waits in the outbox to the broker, once the broker is back."""

import asyncpg
import structlog

from bus.publisher import Broker, publish_events
from core.errors import StoreUnavailable
from db import outbox
from db.postgres import transaction

log = structlog.get_logger()


async def drain_outbox(pool: asyncpg.Pool, broker: Broker) -> None:
    """Send the envelopes of the outbox, oldest first, until none is left or the broker confirms none of them.

    Raises StoreUnavailable in the second case, and while Postgres is away.
    """
    while sent := await _drain_some(pool, broker):
        log.info("outbox_drained", messages=sent)


async def _drain_some(pool: asyncpg.Pool, broker: Broker) -> int:
    """Send the oldest envelopes, each by itself, so that one the broker refuses does not stop the others."""
    async with transaction(pool) as connection:
        envelopes = await outbox.take_envelopes(connection)
        refusals = [await _refusal(broker, envelope) for envelope in envelopes]
        sent = [envelope.id for envelope, refusal in zip(envelopes, refusals, strict=True) if refusal is None]
        await outbox.delete_envelopes(connection, sent)
    if envelopes and not sent:
        raise refusals[0] or StoreUnavailable("broker")
    return len(sent)


async def _refusal(broker: Broker, envelope: outbox.OutboxEnvelope) -> StoreUnavailable | None:
    """Send one envelope; returns the error if the broker did not confirm it."""
    try:
        await publish_events(broker, envelope.task_id, envelope.body)
    except StoreUnavailable as error:
        return error
    return None
