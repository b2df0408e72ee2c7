"""The client of whoever runs Penchant on this machine: registered at every start, found by the other commands."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from cli.asking import Client
from cli.checkout import DEMO
from cli.site import Site
from cli.stack.addresses import GIVEN
from cli.stack.folder import write_private

STORES = {"postgres": "postgres", "redis": "valkey", "broker": "rabbitmq"}  # what programs call them
TOKEN_TTL = 86_400  # seconds: a `curl` copied in the morning works all day
T = TypeVar("T")


def own_client(site: Site, id: str) -> Client:
    """The site's own OAuth client: every read scope, and events and orders in; its secret is the folder's."""
    secret = site.folder.secret("client")
    on_pool(site, lambda pool: _register(pool, id, secret))
    return Client(site.base_url, id, secret)


def leave_credentials(site: Site, client: Client, more: dict[str, Any] | None = None) -> None:
    """Write addresses and credentials, and `more`, where people and programs find them; only the owner may read."""
    known = {
        "base_url": client.base_url,
        "client_id": client.id,
        "client_secret": client.secret,
        **(more or {}),
        **{f"{store}_url": site.settings[GIVEN[name]] for store, name in STORES.items()},
    }
    write_private(site.folder.path / DEMO.name, json.dumps(known, indent=1))


def on_pool(site: Site, ask: Callable[[Any], Awaitable[T]]) -> T:
    """What a function of the memory says, on a connection of its own."""
    from db.postgres import connect_pool

    async def run() -> T:
        async with await connect_pool(site.settings[GIVEN["postgres"]], size=1) as pool:
            return await ask(pool)

    return asyncio.run(run())


async def _register(pool: Any, id: str, secret: str) -> None:
    from api.oauth.clients.registration import register
    from db.clients import create_client
    from engine.scopes import SCOPES

    scopes = [name for name in SCOPES if name.endswith(":read")] + ["events:write", "orders:write"]
    grants = ["client_credentials", "token-exchange"]
    await create_client(pool, register(id, secret, grants=grants, scope=" ".join(scopes), ttl=TOKEN_TTL))
