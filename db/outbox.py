"""The outbox: messages the broker did not take, kept until it does, under the ids they already have."""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from db.postgres import Connection


class Parcel(NamedTuple):
    """One message as it was to be published."""

    id: int
    task_id: UUID
    body: bytes


async def put_aside(connection: Connection, task_id: UUID, body: bytes) -> None:
    """Keep a message; a second time under the same task id changes nothing."""
    await connection.execute(
        "INSERT INTO outbox (task_id, body) VALUES ($1, $2) ON CONFLICT (task_id) DO NOTHING", task_id, body
    )


async def take_parcels(connection: Connection, limit: int = 20) -> list[Parcel]:
    """The oldest messages nobody else is sending just now, held until this transaction ends."""
    rows = await connection.fetch(
        "SELECT id, task_id, body FROM outbox ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED", limit
    )
    return [Parcel(**row) for row in rows]


async def drop_parcels(connection: Connection, ids: Sequence[int]) -> None:
    """These were confirmed by the broker."""
    await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", list(ids))


async def count_parcels(connection: Connection) -> int:
    """How many messages wait."""
    waiting: int = await connection.fetchval("SELECT count(*) FROM outbox")
    return waiting


async def oldest_parcel(connection: Connection) -> timedelta | None:
    """How long the oldest message has waited; None when none does."""
    age: timedelta | None = await connection.fetchval("SELECT now() - min(created_at) FROM outbox")
    return age
