"""`penchant clients`: registers, lists and shows OAuth clients; changes their secrets and scopes; disables them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from api.oauth.clients.registration import (
    MAX_TTL,
    SHORTEST_TTL,
    check_fit,
    check_scopes,
    check_secret,
    new_secret,
    register,
)
from api.oauth.clients.secrets import hash_secret
from cli.commands import client_documents, client_usage
from cli.commands.client_limits import Daily, Rate, show_or_set
from cli.database import on_pool
from cli.errors import Refused, WrongCommand, refusals
from cli.interface import AsJson, SecretFromStdin, command_group, operator_of, print_json, secret_from_stdin
from cli.local.stack_files import read_credentials
from core.secret_files import read_secret
from db.client_audit import AuditEntry, list_audit
from db.clients import Client, client_by_id, last_uses, list_clients
from db.postgres import Pool
from engine.clients import changing
from engine.clients.changing import DEFAULT_OVERLAP, MAX_OVERLAP

app = command_group("Register, list and show OAuth clients, change their secrets and scopes, disable them.")

MOST_KEYS_BYTES = 65_536  # of a file with public keys

ClientId = Annotated[str, typer.Argument(metavar="ID")]
Overlap = Annotated[int, typer.Option(min=0, max=MAX_OVERLAP, help="Seconds the secret it has now stays valid.")]


@app.command()
def create(
    client_id: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits and . _ ~ -")],
    grant: Annotated[list[str], typer.Option(help="client_credentials, token-exchange, ...; may be repeated.")],
    scope: Annotated[str, typer.Option(help="Scopes it may have, separated by spaces.")],
    secret_stdin: SecretFromStdin = False,
    public: Annotated[
        bool, typer.Option("--public", help="It has no secret: an app or a page, where people sign in.")
    ] = False,
    jwks: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A JWK set with its public keys, in place of a secret.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people see when they are asked to allow it.")] = None,
    first_party: Annotated[
        bool, typer.Option("--first-party", help="It is the shop's own: people are not asked to allow it.")
    ] = False,
    redirect_uri: Annotated[
        list[str] | None, typer.Option(help="Where people may be sent back; may be repeated.")
    ] = None,
    post_logout_uri: Annotated[
        list[str] | None, typer.Option(help="Where people may be sent after signing out; may be repeated.")
    ] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Web origin whose pages may call; may be repeated.")] = None,
    ttl: Annotated[
        int | None, typer.Option(help=f"Lifetime of its access tokens in seconds: {SHORTEST_TTL} to {MAX_TTL}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Register a client. A random secret is made and printed, this once, unless it has another or needs none."""
    if sum((secret_stdin, public, jwks is not None)) > 1:
        raise WrongCommand("--secret-stdin, --public and --jwks exclude each other.")
    secret = None if public or jwks else secret_from_stdin() if secret_stdin else new_secret()
    client = register(
        client_id,
        secret,
        grants=grant,
        scope=scope,
        redirect_uris=redirect_uri or (),
        origins=origin or (),
        ttl=ttl,
        name=name,
        first_party=first_party,
        post_logout_redirect_uris=post_logout_uri or (),
        jwks=None if jwks is None else _text_of(jwks),
    )
    with refusals():
        on_pool(lambda pool: changing.create(pool, client, _operator("create")), _database())
    _print({"client_id": client_id} | _secret_to_show(secret, secret_stdin), as_json=as_json)


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all clients."""

    async def read(pool: Pool) -> list[dict[str, Any]]:
        clients = await list_clients(pool)
        used = await last_uses(pool, [client.id for client in clients])
        return [_shown(client) | {"last_used_at": _moment(used.get(client.id))} for client in clients]

    clients = on_pool(read, _database())
    if as_json:
        print_json(clients)
        return
    for client in clients:
        grants, scopes = " ".join(client["grants"]), " ".join(client["scopes"])
        typer.echo(f"{client['client_id']}  {client['state']}  {grants}  {scopes}")


@app.command()
def show(
    client_id: ClientId,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many entries of its audit trail.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show a client, when it was used last, what was done to it and by whom, and its refusals by reason."""

    async def read(pool: Pool) -> tuple[Client | None, Any, list[AuditEntry]]:
        return (
            await client_by_id(pool, client_id),
            (await last_uses(pool, [client_id])).get(client_id),
            await list_audit(pool, client_id, last),
        )

    client, used_at, entries = on_pool(read, _database())
    if client is None:
        raise Refused(f"There is no client {client_id}.")
    shown = _shown(client) | {"created_at": _moment(client.created_at), "last_used_at": _moment(used_at)}
    audit = [_entry(entry) for entry in entries]
    if as_json:
        print_json(shown | {"audit": audit})
        return
    for name, value in shown.items():
        typer.echo(f"{name}: {' '.join(value) if isinstance(value, list) else '' if value is None else value}")
    typer.echo("audit:")
    for entry in audit:
        typer.echo("  " + "  ".join(str(value) for value in entry.values() if value not in (None, "")))


@app.command("rotate-secret")
def rotate_secret(
    client_id: ClientId,
    overlap: Overlap = DEFAULT_OVERLAP,
    secret_stdin: SecretFromStdin = False,
    as_json: AsJson = False,
) -> None:
    """Give a client a new secret. Without --secret-stdin a random one is made and printed, this once."""
    secret = check_secret(secret_from_stdin()) if secret_stdin else new_secret()
    hash, by = hash_secret(secret), _operator("rotate-secret")
    with refusals():
        until = on_pool(lambda pool: changing.give_new_secret(pool, client_id, hash, overlap, by), _database())
    made = {"client_id": client_id, "old_secret_valid_until": _moment(until)}
    _print(made | _secret_to_show(secret, secret_stdin), as_json=as_json)


@app.command(hidden=True)
def rotate(
    client_id: ClientId,
    overlap: Overlap = DEFAULT_OVERLAP,
    secret_stdin: SecretFromStdin = False,
    as_json: AsJson = False,
) -> None:
    """The earlier name of `rotate-secret`."""
    typer.echo("penchant: `clients rotate` is deprecated since 2026-11-28: use `clients rotate-secret`.", err=True)
    rotate_secret(client_id, overlap, secret_stdin, as_json)


@app.command()
def scopes(
    client_id: ClientId,
    scope: Annotated[str | None, typer.Option(help="All scopes it may have from now on, separated by spaces.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the scopes of a client, or change them: tokens it has already lose, within three seconds, what it loses."""
    if scope is None:
        client = on_pool(lambda pool: client_by_id(pool, client_id), _database())
        if client is None:
            raise Refused(f"There is no client {client_id}.")
    else:
        wanted, by = check_scopes(scope), _operator("scopes")
        with refusals():
            client = on_pool(
                lambda pool: changing.set_scopes(pool, client_id, wanted, by, lambda _, after: check_fit(after)),
                _database(),
            )
    _print({"client_id": client_id, "scope": " ".join(client.scopes)}, as_json=as_json)


@app.command()
def disable(client_id: ClientId) -> None:
    """Refuse a client and all its tokens, in every process within three seconds."""
    with refusals():
        on_pool(lambda pool: changing.disable(pool, client_id, _operator("disable")), _database())


@app.command()
def enable(client_id: ClientId) -> None:
    """Accept a disabled client again. The access tokens it had before stay refused."""
    with refusals():
        on_pool(lambda pool: changing.enable(pool, client_id, _operator("enable")), _database())


def _operator(command: str) -> str:
    return operator_of(f"penchant clients {command}")


def _text_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_KEYS_BYTES + 1)
        if len(content) > MOST_KEYS_BYTES:
            raise WrongCommand(f"{file} has more than {MOST_KEYS_BYTES} bytes.")
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise WrongCommand(f"{file} cannot be read: {reason}.") from None


def _secret_to_show(secret: str | None, from_stdin: bool) -> dict[str, str]:
    return {} if secret is None or from_stdin else {"client_secret": secret}


def _print(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(made)
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in made.items()))


@app.command()
def limits(client_id: ClientId, rate: Rate = None, daily: Daily = None, as_json: AsJson = False) -> None:
    """Show or set the rate and the daily quota of a client. They count in every gateway within three seconds."""
    show_or_set(_database(), client_id, rate, daily, as_json)


@app.command()
def documents(client_id: ClientId, mode: client_documents.Wanted = None, as_json: AsJson = False) -> None:
    """Show or set whether a client may send GraphQL texts. It counts in every gateway within three seconds."""
    client_documents.show_or_set(_database(), client_id, mode, as_json)


@app.command()
def usage(
    client_id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One client; all without it.")] = None,
    days: client_usage.Days = 90,
    as_json: AsJson = False,
) -> None:
    """Show which deprecated parts of the GraphQL schema clients still use: how often, and when last."""
    client_usage.show(_database(), client_id, days, as_json)


def _shown(client: Client) -> dict[str, Any]:
    return {
        "client_id": client.id,
        "state": "disabled" if client.disabled_at else "enabled",
        "name": client.name,
        "authentication": "public" if client.public else "private_key_jwt" if client.jwks else "secret",
        "first_party": client.first_party,
        "grants": list(client.grants),
        "scopes": list(client.scopes),
        "origins": list(client.origins),
        "redirect_uris": list(client.redirect_uris),
        "post_logout_uris": list(client.post_logout_redirect_uris),
        "ttl": client.access_ttl,
        "old_secret_valid_until": _moment(client.previous_until),
    }


def _entry(entry: AuditEntry) -> dict[str, Any]:
    return {
        "at": _moment(entry.at),
        "action": entry.action.value,
        "by": entry.done_by,
        "reason": entry.reason,
        "count": entry.count if entry.reason else None,
        "scopes_before": entry.scopes_before and " ".join(entry.scopes_before),
        "scopes": entry.scopes and " ".join(entry.scopes),
    }


def _moment(moment: Any) -> str | None:
    return None if moment is None else str(moment.isoformat(timespec="seconds"))


def _database() -> str:
    url = read_secret("PENCHANT_POSTGRES_URL") or read_credentials().get("postgres_url")
    if not url:
        raise WrongCommand("Set PENCHANT_POSTGRES_URL, or run this beside `penchant up` or the demo.")
    return str(url)
