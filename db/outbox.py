"""The outbox: envelopes that the broker did not take, kept until it does."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from db.postgres import Connection


class OutboxEnvelope(NamedTuple):
    """A row of the outbox. `envelope` is None where a gateway of the release before wrote the row.

    `body` is the message as that release sends it.
    """

    id: int
    message_id: UUID
    envelope: bytes | None
    body: bytes


async def keep_envelope(connection: Connection, message_id: UUID, envelope: bytes, body: bytes) -> None:
    """Keep an encoded envelope; a second time under the same message id changes nothing.

    `body` is the same message as a gateway of the release before sends it.
    """
    await connection.execute(
        "INSERT INTO outbox (task_id, envelope, body) VALUES ($1, $2, $3) ON CONFLICT (task_id) DO NOTHING",
        message_id,
        envelope,
        body,
    )


async def take_envelopes(connection: Connection, limit: int = 20) -> list[OutboxEnvelope]:
    """The oldest rows that no other process holds, locked until this transaction ends."""
    rows = await connection.fetch(
        "SELECT id, task_id, envelope, body FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED", limit
    )
    return [OutboxEnvelope(row["id"], row["task_id"], row["envelope"], row["body"]) for row in rows]


async def delete_envelopes(connection: Connection, ids: Sequence[int]) -> None:
    """Remove the rows that the broker has confirmed."""
    await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", list(ids))


async def count_envelopes(connection: Connection) -> int:
    """How many envelopes wait."""
    waiting: int = await connection.fetchval("SELECT count(*) FROM outbox")
    return waiting


async def oldest_envelope_age(connection: Connection) -> timedelta | None:
    """How long the oldest envelope has waited; None when the outbox is empty."""
    age: timedelta | None = await connection.fetchval("SELECT now() - min(created_at) FROM outbox")
    return age
