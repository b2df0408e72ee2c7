"""What a client with the scope clients:admin may do to clients: nothing that gives anybody more than it has itself."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.contract import check_id
from core.errors import InvalidInput
from db.clients import Client, count_clients
from db.postgres import Connection
from engine.clients import changing
from engine.scopes import PROTOCOL
from engine.viewer import Viewer, check_client

ADMIN = "clients:admin"
MAX_CLIENTS = 10_000


class BeyondOwnScopes(InvalidInput):
    """The client would have scopes that the token does not have."""


class OwnClient(InvalidInput):
    """The client would lock itself out; with `force` it may."""


@dataclass(frozen=True, slots=True)
class WantedClient:
    """A client to create: as `registration.register` takes it. `public`: it gets no secret."""

    id: str
    grants: Sequence[str]
    scopes: Sequence[str]
    public: bool = False
    jwks: str | None = None
    name: str | None = None
    redirect_uris: Sequence[str] = ()
    post_logout_redirect_uris: Sequence[str] = ()
    origins: Sequence[str] = ()
    ttl: int | None = None


class Registrar(Protocol):
    """Checks clients and makes secrets. `new_client` and `new_secret` block for an argon2 run: run them in a thread."""

    def new_client(self, wanted: WantedClient) -> tuple[Client, str | None]:
        """The client to store, and its secret if it has one. Raises InvalidInput."""
        ...

    def new_secret(self) -> tuple[str, str]:
        """A new secret and its hash."""
        ...

    def check_scopes(self, scopes: Sequence[str]) -> tuple[str, ...]:
        """The scopes. Raises InvalidInput for one that does not exist."""
        ...

    def check_fit(self, client: Client) -> None:
        """Raise InvalidInput when scopes and grants do not fit each other or the kind of client."""
        ...


class ClientAdministration:
    """Changes clients for a viewer. All methods raise Forbidden for a person's token, and InvalidInput."""

    def __init__(self, registrar: Registrar) -> None:
        self._registrar = registrar
        self._hashing = asyncio.Semaphore(1)  # an argon2 run takes 19 MiB and 30 ms of a thread

    async def create(self, pool: Connection, viewer: Viewer, wanted: WantedClient) -> tuple[Client, str | None]:
        """Create a client. Returns it with its secret, which nothing shows again."""
        check_client(viewer)
        _check_within(viewer, self._registrar.check_scopes(wanted.scopes))
        async with self._hashing:
            client, secret = await asyncio.to_thread(self._registrar.new_client, wanted)
        if await count_clients(pool) >= MAX_CLIENTS:
            raise InvalidInput(f"There are {MAX_CLIENTS} clients already.")
        await changing.create(pool, client, viewer.client_id)
        return client, secret

    async def give_new_secret(
        self, pool: Connection, viewer: Viewer, client_id: str, overlap: int
    ) -> tuple[datetime, str]:
        """Give a client a new secret, until the returned time beside the one before.

        Raises BeyondOwnScopes for a client that may do more than the viewer: its secret would let the viewer do so.
        """
        check_client(viewer)
        check_id(client_id, "id")
        async with self._hashing:
            secret, hash = await asyncio.to_thread(self._registrar.new_secret)

        def check(client: Client) -> None:
            _check_within(viewer, client.scopes, "id")

        return await changing.give_new_secret(pool, client_id, hash, overlap, viewer.client_id, check), secret

    async def disable(self, pool: Connection, viewer: Viewer, client_id: str, *, force: bool) -> None:
        """Disable a client; the viewer's own only with `force`."""
        check_client(viewer)
        check_id(client_id, "id")
        if client_id == viewer.client_id and not force:
            raise OwnClient("This is the client of the token: it could not enable itself again.", "id")
        await changing.disable(pool, client_id, viewer.client_id)

    async def enable(self, pool: Connection, viewer: Viewer, client_id: str) -> None:
        """Enable a client.

        Raises BeyondOwnScopes for one that may do more than the viewer: whoever has its secret would get that back.
        """
        check_client(viewer)
        check_id(client_id, "id")

        def check(client: Client) -> None:
            _check_within(viewer, client.scopes, "id")

        await changing.enable(pool, client_id, viewer.client_id, check)

    async def set_scopes(
        self, pool: Connection, viewer: Viewer, client_id: str, scopes: Sequence[str], *, force: bool
    ) -> Client:
        """Change the scopes of a client; it may keep those that the viewer does not have, but gets none of them."""
        check_client(viewer)
        check_id(client_id, "id")
        wanted = self._registrar.check_scopes(scopes)
        if client_id == viewer.client_id and ADMIN not in wanted and not force:
            raise OwnClient(f"This is the client of the token: it would lose {ADMIN}.", "scopes")

        def check(before: Client, after: Client) -> None:
            _check_within(viewer, set(after.scopes) - set(before.scopes))
            self._registrar.check_fit(after)

        return await changing.set_scopes(pool, client_id, wanted, viewer.client_id, check)


def _check_within(viewer: Viewer, scopes: Iterable[str], field: str = "scopes") -> None:
    beyond = sorted(set(scopes) - viewer.scopes - PROTOCOL.keys())
    if beyond:
        raise BeyondOwnScopes(f"Your token does not have {' '.join(beyond)}", field)
