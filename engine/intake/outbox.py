"""Envelopes in the outbox: kept while the broker is away, sent once it is back.

`ingest.py` decides when; `db/outbox.py` has the SQL.
"""

import structlog

from bus.envelope import DamagedEnvelope, Envelope, Kind
from bus.messages import as_received
from bus.publisher import Publisher
from core.errors import StoreUnavailable
from db import outbox
from db.outbox import OutboxEnvelope
from db.postgres import Connection, transaction

log = structlog.get_logger()


async def keep_in_outbox(connection: Connection, broker: Publisher, envelope: Envelope) -> None:
    """Keep an envelope until the broker takes it; a second time changes nothing."""
    await outbox.keep_envelope(connection, envelope.id, envelope.encode(), broker.body_of(envelope))


def envelope_of(row: OutboxEnvelope) -> Envelope:
    """The envelope of a row. A gateway of another release may have written it: `body` has the same message."""
    if row.envelope is not None:
        try:
            return Envelope.decode(row.envelope)
        except DamagedEnvelope as error:
            log.warning("envelope_not_decoded", message_id=str(row.message_id), error=str(error))
    return as_received(Kind.STORE_EVENTS, row.body, row.message_id)


async def drain_outbox(pool: Connection, broker: Publisher) -> None:
    """Send the envelopes of the outbox, oldest first, until none is left or the broker confirms none of them.

    Raises StoreUnavailable in the second case, and while Postgres is away.
    """
    while sent := await _drain_some(pool, broker):
        log.info("outbox_drained", messages=sent)


async def _drain_some(pool: Connection, broker: Publisher) -> int:
    """Send the oldest envelopes, each by itself, so that one the broker refuses does not stop the others."""
    async with transaction(pool) as connection:
        rows = await outbox.take_envelopes(connection)
        refusals = [await _refusal(broker, row) for row in rows]
        sent = [row.id for row, refusal in zip(rows, refusals, strict=True) if refusal is None]
        await outbox.delete_envelopes(connection, sent)
    if rows and not sent:
        raise refusals[0] or StoreUnavailable("broker")
    return len(sent)


async def _refusal(broker: Publisher, row: OutboxEnvelope) -> StoreUnavailable | None:
    """Send the envelope of a row; returns the error if it could not be sent."""
    try:
        await broker.publish(envelope_of(row))
    except StoreUnavailable as error:
        return error
    return None
