"""Changes of clients: each is one transaction with its entry in the audit trail."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from core.errors import InvalidInput
from db.client_audit import AuditAction, record_change
from db.clients import (
    Client,
    client_by_id,
    create_client,
    disable_client,
    enable_client,
    rotate_secret,
    set_client_scopes,
)
from db.postgres import Connection, transaction

MAX_OVERLAP = 30 * 86_400  # seconds that the secret before a new one may stay valid
DEFAULT_OVERLAP = 86_400


class ClientTaken(InvalidInput):
    """There is a client with this id already."""


class NoSuchClient(InvalidInput):
    """There is no such client."""


async def create(pool: Connection, client: Client, by: str) -> None:
    """Store a new client. Raises ClientTaken."""
    async with transaction(pool) as held:
        if not await create_client(held, client):
            raise ClientTaken(f"There is a client {client.id} already.", "id")
        await record_change(held, client.id, AuditAction.CREATED, by, scopes=client.scopes)


async def give_new_secret(
    pool: Connection,
    client_id: str,
    secret_hash: str,
    overlap: int,
    by: str,
    check: Callable[[Client], None] = lambda _: None,
) -> datetime:
    """Give a client a new secret; until the returned time it has the one before, too.

    `overlap` is in seconds. `check` raises InvalidInput when the client may get none. Raises NoSuchClient for one that
    does not exist, is disabled or has no secret, and InvalidInput for a wrong overlap.
    """
    if not 0 <= overlap <= MAX_OVERLAP:
        raise InvalidInput(f"The overlap must be 0 to {MAX_OVERLAP} seconds", "overlap")
    async with transaction(pool) as held:
        if (client := await client_by_id(held, client_id, lock=True)) is not None:
            check(client)
        until = await rotate_secret(held, client_id, secret_hash, timedelta(seconds=overlap))
        if until is None:
            raise NoSuchClient(f"There is no enabled client {client_id} with a secret.", "id")
        await record_change(held, client_id, AuditAction.SECRET_ROTATED, by)
    return until


async def disable(pool: Connection, client_id: str, by: str) -> None:
    """Refuse a client and all its tokens, in every process within three seconds. Raises NoSuchClient."""
    async with transaction(pool) as held:
        if not await disable_client(held, client_id):
            raise NoSuchClient(f"There is no enabled client {client_id}.", "id")
        await record_change(held, client_id, AuditAction.DISABLED, by)


async def enable(pool: Connection, client_id: str, by: str, check: Callable[[Client], None] = lambda _: None) -> None:
    """Accept a disabled client again, but not its tokens from before. Raises NoSuchClient.

    `check` raises InvalidInput when the client may not be enabled.
    """
    async with transaction(pool) as held:
        if (client := await client_by_id(held, client_id, lock=True)) is not None:
            check(client)
        if not await enable_client(held, client_id):
            raise NoSuchClient(f"There is no disabled client {client_id}.", "id")
        await record_change(held, client_id, AuditAction.ENABLED, by)


async def set_scopes(
    pool: Connection,
    client_id: str,
    scopes: Sequence[str],
    by: str,
    check: Callable[[Client, Client], None],
) -> Client:
    """Change the scopes of a client; its tokens lose what it loses within three seconds. Returns it as it is then.

    `check` raises InvalidInput when the client may not become so; it gets the client before and after. Raises
    NoSuchClient.
    """
    async with transaction(pool) as held:
        before = await client_by_id(held, client_id, lock=True)
        if before is None:
            raise NoSuchClient(f"There is no client {client_id}.", "id")
        after = replace(before, scopes=tuple(scopes))
        check(before, after)
        if set(before.scopes) != set(after.scopes):
            await set_client_scopes(held, client_id, after.scopes)
            await record_change(
                held, client_id, AuditAction.SCOPES_CHANGED, by, scopes_before=before.scopes, scopes=after.scopes
            )
    return after
