"""`penchant clients`: registers, lists and disables OAuth clients."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import orjson
import typer

from api.oauth.clients.registration import new_secret, register
from cli.checkout import read_demo
from core.errors import InvalidInput, StoreUnavailable
from core.secret_files import read_secret
from db.clients import Client, create_client, disable_client, list_clients
from db.postgres import connect_pool

T = TypeVar("T")

REFUSED, USAGE, UNREACHABLE = 1, 2, 3  # how the program ends
app = typer.Typer(help="Register, list and disable OAuth clients.", no_args_is_help=True, add_completion=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command()
def create(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits and . _ ~ -")],
    grant: Annotated[list[str], typer.Option(help="client_credentials, token-exchange, ...; may be repeated.")],
    scope: Annotated[str, typer.Option(help="Scopes it may have, separated by spaces.")],
    secret_stdin: Annotated[bool, typer.Option("--secret-stdin", help="Read the secret from standard input.")] = False,
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help="Where people may be sent back; may be repeated.")
    ] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Web origin whose pages may call; may be repeated.")] = None,
    ttl: Annotated[int | None, typer.Option(help="Seconds its access tokens live.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a client. Without --secret-stdin a random secret is made and printed this once."""
    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else new_secret()
    try:
        client = register(
            client_id,
            secret,
            grants=grant,
            scope=scope,
            redirect_uris=redirect_uri or (),
            origins=origin or (),
            ttl=ttl,
        )
    except InvalidInput as error:
        raise _failed(str(error), USAGE) from None
    if not _with_pool(lambda pool: create_client(pool, client)):
        raise _failed(f"There is a client {client_id} already.", REFUSED)
    made = {"client_id": client_id} | ({} if secret_stdin else {"client_secret": secret})
    typer.echo(_json(made) if as_json else "\n".join(f"{name}: {value}" for name, value in made.items()))


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all clients."""
    clients = [_shown(client) for client in _with_pool(list_clients)]
    if as_json:
        typer.echo(_json(clients))
    for client in () if as_json else clients:
        typer.echo(
            f"{client['client_id']}  {client['state']}  {' '.join(client['grants'])}  {' '.join(client['scopes'])}"
        )


@app.command()
def disable(client_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Refuse a client and all its tokens, in every process within three seconds."""
    if not _with_pool(lambda pool: disable_client(pool, client_id)):
        raise _failed(f"There is no enabled client {client_id}.", REFUSED)


def _shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "state": "disabled" if client.disabled_at else "enabled",
        "grants": list(client.grants),
        "scopes": list(client.scopes),
        "origins": list(client.origins),
        "redirect_uris": list(client.redirect_uris),
        "ttl": client.access_ttl,
    }


def _json(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _failed(message: str, code: int) -> typer.Exit:
    typer.echo(message, err=True)
    return typer.Exit(code)


def _with_pool(work: Callable[..., Awaitable[T]]) -> T:
    async def run() -> T:
        async with await connect_pool(_postgres_url(), size=1) as pool:
            return await work(pool)

    try:
        return asyncio.run(run())
    except StoreUnavailable as error:
        raise _failed(str(error), UNREACHABLE) from None


def _postgres_url() -> str:
    demo = read_demo() or {}
    url = read_secret("PENCHANT_POSTGRES_URL") or demo.get("postgres_url")
    if not url:
        raise _failed("Set PENCHANT_POSTGRES_URL, or run this beside `penchant up` or the demo.", USAGE)
    return str(url)
