"""`penchant clients`: registers and lists OAuth clients, changes their secrets, disables them."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from api.oauth.clients.registration import check_secret, new_secret, register
from api.oauth.clients.secrets import hash_secret
from cli.commands.client_limits import ClientId, Daily, Rate, show_or_set
from cli.database import on_pool
from cli.errors import Refused, WrongCommand
from cli.interface import AsJson, SecretFromStdin, command_group, print_json, secret_from_stdin
from cli.local.stack_files import read_credentials
from core.secret_files import read_secret
from db.clients import Client, create_client, disable_client, list_clients, rotate_secret

app = command_group("Register and list OAuth clients, change their secrets, disable them.")

DEFAULT_OVERLAP, MAX_OVERLAP = 86_400, 30 * 86_400  # seconds


@app.command()
def create(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits and . _ ~ -")],
    grant: Annotated[list[str], typer.Option(help="client_credentials, token-exchange, ...; may be repeated.")],
    scope: Annotated[str, typer.Option(help="Scopes it may have, separated by spaces.")],
    secret_stdin: SecretFromStdin = False,
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help="Where people may be sent back; may be repeated.")
    ] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Web origin whose pages may call; may be repeated.")] = None,
    ttl: Annotated[int | None, typer.Option(help="Lifetime of its access tokens in seconds.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register a client. Without --secret-stdin a random secret is made and printed, this once."""
    secret = secret_from_stdin() if secret_stdin else new_secret()
    client = register(
        client_id,
        secret,
        grants=grant,
        scope=scope,
        redirect_uris=redirect_uri or (),
        origins=origin or (),
        ttl=ttl,
    )
    if not on_pool(lambda pool: create_client(pool, client), _database()):
        raise Refused(f"There is a client {client_id} already.")
    made = {"client_id": client_id} | ({} if secret_stdin else {"client_secret": secret})
    if as_json:
        print_json(made)
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in made.items()))


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all clients."""
    clients = [_shown(client) for client in on_pool(list_clients, _database())]
    if as_json:
        print_json(clients)
        return
    for client in clients:
        grants, scopes = " ".join(client["grants"]), " ".join(client["scopes"])
        typer.echo(f"{client['client_id']}  {client['state']}  {grants}  {scopes}")


@app.command()
def rotate(
    client_id: Annotated[str, typer.Argument(metavar="ID")],
    overlap: Annotated[
        int, typer.Option(min=0, max=MAX_OVERLAP, help="Seconds the secret it has now stays valid.")
    ] = DEFAULT_OVERLAP,
    secret_stdin: SecretFromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Give a client a new secret. Without --secret-stdin a random one is made and printed, this once."""
    secret = check_secret(secret_from_stdin()) if secret_stdin else new_secret()
    hash, valid = hash_secret(secret), timedelta(seconds=overlap)
    until = on_pool(lambda pool: rotate_secret(pool, client_id, hash, valid), _database())
    if until is None:
        raise Refused(f"There is no enabled client {client_id} with a secret.")
    made = {"client_id": client_id, "old_secret_valid_until": until.isoformat(timespec="seconds")}
    made |= {} if secret_stdin else {"client_secret": secret}
    if as_json:
        print_json(made)
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in made.items()))


@app.command()
def disable(client_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Refuse a client and all its tokens, in every process within three seconds."""
    if not on_pool(lambda pool: disable_client(pool, client_id), _database()):
        raise Refused(f"There is no enabled client {client_id}.")


@app.command()
def limits(client_id: ClientId, rate: Rate = None, daily: Daily = None, as_json: AsJson = False) -> None:
    """Show or set the rate and the daily quota of a client. They count in every gateway within three seconds."""
    show_or_set(_database(), client_id, rate, daily, as_json)


def _shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "state": "disabled" if client.disabled_at else "enabled",
        "grants": list(client.grants),
        "scopes": list(client.scopes),
        "origins": list(client.origins),
        "redirect_uris": list(client.redirect_uris),
        "ttl": client.access_ttl,
        "old_secret_valid_until": client.previous_until and client.previous_until.isoformat(timespec="seconds"),
    }


def _database() -> str:
    url = read_secret("PENCHANT_POSTGRES_URL") or read_credentials().get("postgres_url")
    if not url:
        raise WrongCommand("Set PENCHANT_POSTGRES_URL, or run this beside `penchant up` or the demo.")
    return str(url)
