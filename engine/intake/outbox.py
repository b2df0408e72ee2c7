"""Between envelopes and the rows of the outbox."""

from bus.envelope import Envelope, Kind
from bus.messages import as_received
from bus.rabbitmq.celery_message import body_of
from db import outbox
from db.outbox import OutboxEnvelope
from db.postgres import Connection


async def keep_in_outbox(connection: Connection, envelope: Envelope) -> None:
    """Keep an envelope until the broker takes it; a second time changes nothing."""
    await outbox.keep_envelope(connection, envelope.id, envelope.encode(), body_of(envelope))


def envelope_of(row: OutboxEnvelope) -> Envelope:
    """The envelope of a row, also of one that a gateway of the release before wrote. Raises DamagedEnvelope."""
    if row.envelope is not None:
        return Envelope.decode(row.envelope)
    return as_received(Kind.STORE_EVENTS, row.body, row.message_id)
