"""The OAuth client of a local deployment: registered at every start, its credentials left for the other commands."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cli.database import on_pool
from cli.gateway_client import Client
from cli.interface import operator_of
from cli.local.deployment import Deployment
from cli.local.stack_files import write_credentials
from cli.stack.addresses import GIVEN

if TYPE_CHECKING:
    from db.postgres import Pool

STORES = {"postgres": "postgres", "redis": "valkey", "broker": "rabbitmq"}  # our name of each store: the program's
TOKEN_TTL = 86_400  # seconds: a `curl` copied in the morning works all day


def register_own_client(deployment: Deployment, id: str) -> Client:
    """The deployment's own client: every read scope, and events and orders in; its secret is the folder's."""
    secret = deployment.folder.secret("client")
    on_pool(lambda pool: _register(pool, id, secret), deployment.postgres_url)
    return Client(deployment.base_url, id, secret)


def leave_credentials(deployment: Deployment, client: Client, more: dict[str, Any] | None = None) -> None:
    """Write the addresses, the client's credentials and `more` into the deployment's folder."""
    credentials = {
        "base_url": client.base_url,
        "client_id": client.id,
        "client_secret": client.secret,
        **(more or {}),
        **{f"{store}_url": deployment.settings[GIVEN[name]] for store, name in STORES.items()},
    }
    write_credentials(deployment.folder.path, credentials)


async def _register(pool: "Pool", id: str, secret: str) -> None:
    from api.oauth.clients.registration import register
    from engine.clients.changing import ClientTaken, create
    from engine.scopes import SCOPES

    scopes = [name for name in SCOPES if name.endswith(":read")] + ["events:write", "orders:write"]
    grants = ["client_credentials", "token-exchange"]
    client = register(id, secret, grants=grants, scope=" ".join(scopes), ttl=TOKEN_TTL)
    with suppress(ClientTaken):  # an earlier start registered it
        await create(pool, client, operator_of("penchant"))
