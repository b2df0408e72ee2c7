"""`penchant issuers`: registers and checks the shop's own identity providers, whose access tokens are accepted."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from api.oauth.foreign.keys import UnreadableKeys
from api.oauth.foreign.registration import MOST_ISSUERS, register_issuer
from api.oauth.jose.public_keys import ALGORITHMS
from cli.database import on_pool
from cli.errors import Refused
from cli.interface import AsJson, command_group, print_json
from core.errors import InvalidInput
from core.secret_files import read_secret
from db.clients import Client, client_by_id
from db.issuers import Issuer, add_issuer, disable_issuer, enable_issuer, list_issuers, remove_issuer

if TYPE_CHECKING:
    from api.oauth.foreign.reading import FoundKeys
    from db.postgres import Pool

app = command_group("Accept the access tokens of the shop's own identity provider.")

Url = Annotated[str, typer.Argument(metavar="URL", help="The issuer, exactly as `iss` in its tokens.")]


@app.command()
def add(
    url: Url,
    audience: Annotated[str, typer.Option(help="What `aud` of its access tokens must contain.")],
    scope: Annotated[str, typer.Option(help="Scopes of a person's token that it gives, separated by spaces.")],
    subject_claim: Annotated[str, typer.Option(help="The claim that is the shop's user id.")] = "sub",
    scope_claim: Annotated[
        str | None, typer.Option(help="A claim that must list a scope too; by default every token gives all scopes.")
    ] = None,
    client: Annotated[
        str | None, typer.Option(metavar="ID", help="The client whose limits and namespace its people share.")
    ] = None,
    jwks_url: Annotated[
        str | None, typer.Option(help="Where its keys are; by default its metadata says so.", metavar="ADDRESS")
    ] = None,
    algorithm: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(ALGORITHMS)}; may be repeated. By default RS256.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Accept an issuer's access tokens as tokens of one person each. `penchant issuers check` tries it."""

    async def store(pool: "Pool") -> Issuer:
        issuer = register_issuer(
            url,
            audience=audience,
            scope=scope,
            subject_claim=subject_claim,
            scope_claim=scope_claim,
            algorithms=algorithm or (),
            jwks_url=jwks_url,
            client=None if client is None else await _client(pool, client),
        )
        if len(await list_issuers(pool)) >= MOST_ISSUERS:
            raise Refused(f"There are {MOST_ISSUERS} issuers already: remove one.")
        if not await add_issuer(pool, issuer):
            raise Refused(f"There is an issuer {url} already: remove it first.")
        return issuer

    issuer = on_pool(store)
    if as_json:
        print_json(_shown(issuer))
    else:
        typer.echo(f"Added. Try it: penchant issuers check {issuer.url}")


@app.command("list")
def list_all(as_json: AsJson = False) -> None:
    """List all issuers, with the scopes that their tokens give."""
    issuers = [_shown(issuer) for issuer in on_pool(list_issuers)]
    if as_json:
        print_json(issuers)
        return
    for issuer in issuers:
        typer.echo(f"{issuer['url']}  {issuer['state']}  {issuer['audience']}  {' '.join(issuer['scopes'])}")


@app.command()
def check(url: Url, as_json: AsJson = False) -> None:
    """Read the metadata and the keys of an issuer now, and show what gateways see."""
    from api.oauth.foreign.reading import read_keys

    issuer = next((one for one in on_pool(list_issuers) if one.url == url), None)
    if issuer is None:
        raise Refused(f"There is no issuer {url}. `penchant issuers list` shows all.")
    try:
        found = read_keys(issuer, read_secret("PENCHANT_ISSUERS_PROXY"))
    except UnreadableKeys as error:
        raise Refused(str(error)) from error
    if as_json:
        print_json(_shown(issuer) | _shown_keys(found))
        return
    typer.echo(f"{issuer.url} is {_shown(issuer)['state']}. Its keys, from {found.address}:")
    for key in found.keys.usable.values():
        typer.echo(f"  {ascii(key.kid)[1:-1]}  {key.algorithms[0]}")
    for reason in found.keys.unusable:
        typer.echo(f"  unusable: {reason}")


@app.command()
def disable(url: Url) -> None:
    """Refuse all tokens of an issuer, in every process within three seconds."""
    if not on_pool(lambda pool: disable_issuer(pool, url)):
        raise Refused(f"There is no enabled issuer {url}.")


@app.command()
def enable(url: Url) -> None:
    """Accept the tokens of a disabled issuer again."""
    if not on_pool(lambda pool: enable_issuer(pool, url)):
        raise Refused(f"There is no disabled issuer {url}.")


@app.command()
def remove(url: Url) -> None:
    """Forget an issuer, and refuse all its tokens, in every process within three seconds."""
    if not on_pool(lambda pool: remove_issuer(pool, url)):
        raise Refused(f"There is no issuer {url}.")


async def _client(pool: "Pool", client_id: str) -> Client:
    found = await client_by_id(pool, client_id)
    if found is None or found.disabled_at is not None:
        raise InvalidInput(f"There is no enabled client {client_id}", "client")
    return found


def _shown(issuer: Issuer) -> dict[str, Any]:
    return {
        "url": issuer.url,
        "state": "disabled" if issuer.disabled_at else "enabled",
        "audience": issuer.audience,
        "subject_claim": issuer.subject_claim,
        "scopes": list(issuer.scopes),
        "scope_claim": issuer.scope_claim,
        "algorithms": list(issuer.algorithms),
        "jwks_url": issuer.jwks_url,
        "client_id": issuer.client_id,
    }


def _shown_keys(found: "FoundKeys") -> dict[str, Any]:
    return {
        "keys_from": found.address,
        "keys": [{"kid": key.kid, "algorithm": key.algorithms[0]} for key in found.keys.usable.values()],
        "unusable": list(found.keys.unusable),
        "read_again_after": round(found.life),
    }
