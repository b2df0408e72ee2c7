"""The outbox: envelopes the broker did not take are kept in Postgres, under their ids, until it takes them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from db.postgres import Connection


class OutboxEnvelope(NamedTuple):
    """One envelope as it is to be published."""

    id: int
    task_id: UUID
    body: bytes


async def keep_envelope(connection: Connection, task_id: UUID, body: bytes) -> None:
    """Keep an envelope; a second one under the same task id changes nothing."""
    await connection.execute(
        "INSERT INTO outbox (task_id, body) VALUES ($1, $2) ON CONFLICT (task_id) DO NOTHING", task_id, body
    )


async def take_envelopes(connection: Connection, limit: int = 20) -> list[OutboxEnvelope]:
    """The oldest envelopes that no other process holds; they are held until this transaction ends."""
    rows = await connection.fetch(
        "SELECT id, task_id, body FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED", limit
    )
    return [OutboxEnvelope(**row) for row in rows]


async def delete_envelopes(connection: Connection, ids: Sequence[int]) -> None:
    """Delete envelopes that the broker confirmed."""
    await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", list(ids))


async def count_envelopes(connection: Connection) -> int:
    """How many envelopes wait."""
    waiting: int = await connection.fetchval("SELECT count(*) FROM outbox")
    return waiting


async def oldest_envelope_age(connection: Connection) -> timedelta | None:
    """How long the oldest envelope has waited; None when the outbox is empty."""
    age: timedelta | None = await connection.fetchval("SELECT now() - min(created_at) FROM outbox")
    return age
